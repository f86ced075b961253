import { parse } from 'yaml';
import { ServiceError } from '../../src/errors';
import type { AppOptions } from '../../src/http/express-app';
import { untilAborted } from '../http/fake-service';
import { ApiKeys } from '../../src/http/api-keys';
import { type Answer, DOCUMENT, form, KEY, keyFile, lineOf, TestServer } from '../http/test-server';
import { photo } from '../photos';

let server: TestServer;
let jpeg: Buffer;

beforeEach(async () => {
  jpeg = await photo();
  server = await TestServer.start({ requestTimeoutMs: 200 });
});
afterEach(() => server.close());

type Send = () => Promise<Answer>;

async function restart(options: Partial<AppOptions>): Promise<void> {
  await server.close();
  server = await TestServer.start(options);
}

/** A body whose end never comes. */
async function upload(path: string): Promise<Answer> {
  await restart({ slowestPace: { bytes: 100_000, windowMs: 100 } });
  const endless = new ReadableStream({
    start: (controller) => {
      controller.enqueue(jpeg);
    },
  });
  const headers = { 'Content-Type': 'image/jpeg' };
  return server.get(path, { method: 'POST', headers, body: endless, duplex: 'half' });
}

/** A request for each status that an inference route may answer with. */
function inferenceCircumstances(path: string, fields: readonly (readonly [string, string])[]): [string, Send][] {
  const send = (image: Uint8Array = jpeg, ...others: (readonly [string, string])[]) =>
    server.post(path, form(['image', image], ...fields, ...others));
  return [
    ['200', send],
    ['400', () => send(jpeg, ['unknown', ''])],
    [
      '401',
      async () => {
        await restart({ keys: await someKeys() });
        return send();
      },
    ],
    ['404', () => send(jpeg, ['model', 'none'])],
    ['408', () => upload(path)],
    ['413', () => send(Buffer.alloc(20_000_001))],
    ['415', () => send(Buffer.from('text'))],
    ['422', () => send(Buffer.alloc(0))],
    [
      '429',
      async () => {
        await restart({ rateLimit: 1 });
        await send();
        return send();
      },
    ],
    [
      '500',
      () => {
        server.service.before = () => Promise.reject(new Error('a bug'));
        return send();
      },
    ],
    [
      '503',
      () => {
        server.service.before = () => Promise.reject(new ServiceError('overloaded', 'The queue is full.'));
        return send();
      },
    ],
    [
      '504',
      () => {
        server.service.before = untilAborted;
        return send();
      },
    ],
  ];
}

function someKeys(): Promise<ApiKeys> {
  return ApiKeys.read(keyFile(lineOf('alice', KEY)));
}

function pathOf(template: string, name: string): string {
  return template.replace('{name}', name).replace('{version}', '1.0.0');
}

function reload(error?: Error): Promise<Answer> {
  if (error !== undefined) {
    server.reload = () => Promise.reject(error);
  }
  return server.post('/admin/reload', null, { Authorization: `Bearer ${KEY}` });
}

const CIRCUMSTANCES = new Map<string, Send>([
  ...inferenceCircumstances('/caption', []).map(([status, send]) => [`post /caption ${status}`, send] as const),
  ...inferenceCircumstances('/vqa', [['question', 'why?']]).map(
    ([status, send]) => [`post /vqa ${status}`, send] as const,
  ),
  ['get /models 200', () => server.get('/models')],
  [
    'get /models 401',
    async () => {
      await restart({ keys: await someKeys() });
      return server.get('/models');
    },
  ],
  ...['/v2/health/ready', '/v2/models/{name}/ready', '/v2/models/{name}/versions/{version}/ready'].flatMap(
    (template): [string, Send][] => [
      [`get ${template} 200`, () => server.get(pathOf(template, 'photos'))],
      [
        `get ${template} 503`,
        () => {
          server.service.state = 'starting';
          return server.get(pathOf(template, 'photos'));
        },
      ],
      ...(template.includes('{')
        ? [[`get ${template} 404`, () => server.get(pathOf(template, 'none'))] as [string, Send]]
        : []),
    ],
  ),
  ['get /v2/health/live 200', () => server.get('/v2/health/live')],
  ['post /admin/reload 200', () => reload()],
  ['post /admin/reload 401', () => server.post('/admin/reload', null)],
  ['post /admin/reload 422', () => reload(new ServiceError('bundle_refused', 'A file is missing.'))],
  ['post /admin/reload 503', () => reload(new ServiceError('shutting_down', 'The server ends.'))],
  ['get /health/live 200', () => server.get('/health/live')],
  ['get /health/ready 200', () => server.get('/health/ready')],
  [
    'get /health/ready 503',
    () => {
      server.service.state = 'starting';
      return server.get('/health/ready');
    },
  ],
  ['get /metrics 200', () => server.get('/metrics')],
  ['get /openapi.yaml 200', () => server.get('/openapi.yaml')],
  ['get /docs 200', () => server.get('/docs')],
  ['get /docs 301', () => server.get('/docs', { redirect: 'manual' })],
]);

const documented = Object.entries(DOCUMENT.content.paths).flatMap(([path, operations]) =>
  Object.entries(operations).flatMap(([method, { responses }]) =>
    Object.keys(responses).map((status) => `${method} ${path} ${status}`),
  ),
);

test.each(documented)('%s happens, and is as documented', async (circumstance) => {
  const [method = '', path = '', status] = circumstance.split(' ');
  const answer = await CIRCUMSTANCES.get(circumstance)?.();
  expect(answer?.status).toBe(Number(status));
  const { type = '', body } = answer ?? {};
  const value: unknown = type === 'application/yaml' ? parse(String(body)) : body;
  expect(DOCUMENT.checkResponse(path, method, Number(status), type, value)).toBeUndefined();
});

test('no circumstance is left undocumented', () => {
  expect([...CIRCUMSTANCES.keys()].toSorted()).toEqual(documented.toSorted());
});
