import { createHash } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Express } from 'express';
import { pino } from 'pino';
import { createAdminApp } from '../../src/http/admin-app';
import { ApiKeys } from '../../src/http/api-keys';
import { Door } from '../../src/http/door';
import { type AppOptions, createApp } from '../../src/http/express-app';
import type { ModelFacts, ServedModels } from '../../src/vision-language/facts';
import { ApiDocument } from '../../src/http/openapi';
import { SLOWEST_PACE } from '../../src/http/body-pace';
import { Devices } from '../../src/inference/devices';
import { Metrics } from '../../src/http/metrics';
import { Tracing } from '../../src/http/tracing';
import { PhotoFetcher } from '../../src/http/photo-fetcher';
import { HttpServer } from '../../src/http/server';
import { Admission } from '../../src/inference/admission';
import { DrainRate } from '../../src/inference/drain-rate';
import { FakeService } from './fake-service';

/** The key of the test server's admin port. */
export const KEY = 'key-of-alice';

export function keyFile(...lines: readonly string[]): string {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'keys-')), 'keys');
  writeFileSync(file, lines.join('\n'));
  return file;
}

export function lineOf(owner: string, key: string): string {
  return `${owner} ${createHash('sha256').update(key).digest('hex')}`;
}

export const MODEL: ModelFacts = {
  directory: '/models/photos',
  manifestSha256: '00',
  name: 'photos',
  version: '1.0.0',
  // One less than what openapi.yaml allows, so that a test sees which limit it meets.
  limits: { numBeams: 7, maxTokens: 19, topK: 19, questionCharacters: 255, questionTokens: 66 },
  defaults: { numBeams: 5, numCaptions: 1, maxTokens: 18, topK: 4, regions: false, explain: false },
  precisions: ['fp32'],
  scores: { caption: { meaning: 'geometric_mean_of_token_probabilities' } },
};

export const DOCUMENT = new ApiDocument(path.join(__dirname, '../../openapi.yaml'));

const LOCAL = { host: '127.0.0.1', port: 0, maxConnections: 1_000 };

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly headers: Headers;
  /** Parsed if it is JSON, else the text. */
  readonly body: unknown;
}

/** The HTTP side over a fake service on a free port; each response is held against openapi.yaml. */
export class TestServer {
  readonly closing = new AbortController();
  /** Lines that were logged. */
  readonly log: string[] = [];

  private constructor(
    readonly service: FakeService,
    adminKeys: ApiKeys,
    options: Partial<AppOptions>,
  ) {
    const all = this.appOptions(options);
    this.app = createApp(all);
    this.door = new Door(this.app, all);
    this.admin = createAdminApp({ ...all, keys: adminKeys, reload: () => this.reload() });
  }

  readonly app: Express;
  readonly door: Door;
  readonly admin: Express;
  /** What `POST /admin/reload` does. */
  reload: () => Promise<ServedModels> = () => Promise.resolve([MODEL]);
  private server: HttpServer | undefined;
  private adminServer: HttpServer | undefined;

  static async start(options: Partial<AppOptions> = {}): Promise<TestServer> {
    const test = new TestServer(new FakeService(), await ApiKeys.read(keyFile(lineOf('alice', KEY))), options);
    test.server = await HttpServer.listen(test.door.listener, LOCAL);
    test.adminServer = await HttpServer.listen(test.admin, LOCAL);
    return test;
  }

  get port(): number {
    return this.server?.port ?? 0;
  }

  url(pathAndQuery: string): string {
    const port = pathAndQuery.startsWith('/admin/') ? this.adminServer?.port : this.port;
    return `http://127.0.0.1:${port}${pathAndQuery}`;
  }

  async get(pathAndQuery: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(this.url(pathAndQuery), init);
    const type = response.headers.get('content-type')?.split(';', 1)[0] ?? '';
    const text = await response.text();
    return {
      status: response.status,
      type,
      headers: response.headers,
      body: type.endsWith('json') ? JSON.parse(text) : text,
    };
  }

  post(pathAndQuery: string, body: RequestInit['body'], headers: Record<string, string> = {}): Promise<Answer> {
    return this.get(pathAndQuery, { method: 'POST', body: body ?? null, headers });
  }

  postJson(path: string, fields: unknown): Promise<Answer> {
    return this.post(path, JSON.stringify(fields), { 'Content-Type': 'application/json' });
  }

  async close(): Promise<void> {
    await Promise.all([this.server?.close(1_000), this.adminServer?.close(1_000)]);
  }

  private appOptions(options: Partial<AppOptions>): AppOptions {
    const { service } = this;
    const limits = { units: 512, bytes: 512e6, unitsInWork: 8 };
    const admission = options.admission ?? new Admission(limits, DrainRate.of(service.events));
    return {
      service,
      admission,
      models: () => [MODEL],
      devices: Devices.of(service.events),
      precision: 'auto',
      metrics: new Metrics(service, admission, { droppedLines: 0 }),
      openMetrics: true,
      tracing: new Tracing(),
      keys: undefined,
      corsOrigins: [],
      fetcher: new PhotoFetcher({ hosts: [] }),
      document: DOCUMENT,
      logger: pino({ level: 'info' }, { write: (line: string) => void this.log.push(line) }),
      sharesPhotos: false,
      requestTimeoutMs: 30_000,
      slowestPace: SLOWEST_PACE,
      rateLimit: 0,
      trustedProxies: 0,
      validateResponses: true,
      closing: this.closing.signal,
      ...options,
    };
  }
}

/** A form with its fields in the order given; bytes are files. */
export function form(...fields: readonly (readonly [name: string, value: string | Uint8Array])[]): FormData {
  const data = new FormData();
  for (const [name, value] of fields) {
    if (typeof value === 'string') {
      data.append(name, value);
    } else {
      data.append(name, new Blob([new Uint8Array(value)]), 'photo.jpg');
    }
  }
  return data;
}
