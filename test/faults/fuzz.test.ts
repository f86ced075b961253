import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { until } from '../http/plain-client';
import { form } from '../http/test-server';
import { describeWith, installed } from '../servers/installed';
import { ServerProcess } from '../start/server-process';
import { captionsOf } from './clients';
import { mutatedImage, seedImages } from './mutated-images';
import { Random } from './random';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

// Requests made of openapi.yaml, right and wrong, and photos that are damaged in every way: each gets an answer that
// openapi.yaml describes, no process dies, and memory stays within its bound.

/** Resident, of a process with the tiny bundle; docs/operations.md publishes it. */
const BOUND_BYTES = 300e6;
const CLIENTS = 4;

const SCHEMATHESIS = 'bin/st';

let server: ServerProcess;
let port: number;
let expected: (string | undefined)[];

beforeAll(async () => {
  // A cache that is soon full: while it fills, memory grows as it should.
  server = new ServerProcess(['node', 'dist/main.js'], { VALIDATE_RESPONSES: 'true', CACHE_MB: '8' });
  await server.event('ready');
  port = await server.port();
  expected = await captionsOf(port);
});
afterAll(async () => {
  try {
    process.kill(server.pid, 'SIGTERM');
    expect(await server.exit).toBe(0);
  } finally {
    server.cleanUp();
  }
});

/** Of the server and its inference process. */
async function residentBytes(): Promise<[number, number]> {
  const of = async (pid: number): Promise<number> =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
  return [await of(server.pid), await of(server.logged('inference_process_ready')[0]?.pid ?? 0)];
}

/** All requests so far; the log comes a little behind the answers. */
async function requestsLogged() {
  const mark = randomUUID();
  await fetch(`http://127.0.0.1:${port}/health/live`, { headers: { 'X-Request-Id': mark } });
  const place = (): number => server.logged('request').findIndex(({ requestId }) => requestId === mark);
  await until(() => place() >= 0);
  return server.logged('request').slice(0, place());
}

/** A row of the table of docs/operations.md. */
function tableRow(
  name: string,
  statuses: readonly number[],
  before: readonly number[],
  after: readonly number[],
): string {
  const counts = new Map<number, number>();
  for (const status of statuses) {
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  const byStatus = [...counts].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
  const megabytes = (bytes: readonly number[]): string => bytes.map((each) => Math.round(each / 1e6)).join(' + ');
  return `| ${name} | ${statuses.length} | ${byStatus.join(', ')} | ${megabytes(before)} | ${megabytes(after)} |\n`;
}

/** Runs `fuzz` and holds what the server has answered, and what has become of it, against what must hold. */
async function fuzzed(name: string, fuzz: () => Promise<void>): Promise<number[]> {
  const before = await residentBytes();
  const first = (await requestsLogged()).length + 1;
  await fuzz();
  const statuses = (await requestsLogged()).slice(first).map(({ status }) => Number(status));
  const after = await residentBytes();
  const table = process.env['FUZZ_TABLE'];
  if (table !== undefined) {
    await writeFile(table, tableRow(name, statuses, before, after), { flag: 'a' });
  }
  expect(statuses.filter((status) => status >= 500 && status !== 503 && status !== 504)).toEqual([]);
  expect(server.logged('request_failed')).toEqual([]);
  expect(server.logged('inference_process_gone')).toEqual([]);
  expect(Math.max(...after)).toBeLessThan(BOUND_BYTES);
  expect(await captionsOf(port)).toEqual(expected);
  return statuses;
}

describeWith(SCHEMATHESIS)('schemathesis', () => {
  test(`${SIZES.fuzzExamples} requests for each operation and more: none breaks openapi.yaml`, async () => {
    const checks = ['positive_data_acceptance', 'not_a_server_error'];
    const options = {
      '--url': `http://127.0.0.1:${port}`,
      '--seed': String(SIZES.fuzzSeed),
      '--max-examples': String(SIZES.fuzzExamples),
      '--phases': 'examples,coverage,fuzzing',
      // What is valid for the schema may name a model that is not served; 503 and 504 are answers.
      '--exclude-checks': checks.join(','),
      '--exclude-path': '/admin/reload',
      '--generation-database': 'none',
      '--suppress-health-check': 'all',
      '--request-timeout': '60',
      '--warnings': 'off',
    };
    const args = [
      'run',
      path.join(__dirname, '../../openapi.yaml'),
      '--no-color',
      '--continue-on-failure',
      ...Object.entries(options).flat(),
    ];
    // It leaves a folder where it runs.
    const cwd = await mkdtemp(path.join(tmpdir(), 'fuzz-'));
    const statuses = await fuzzed('requests by openapi.yaml', async () => {
      await promisify(execFile)(installed(SCHEMATHESIS), args, { cwd, maxBuffer: 1e9 }).catch((error: unknown) => {
        throw new Error(`Schemathesis: ${(error as { stdout?: string }).stdout ?? String(error)}`);
      });
    });
    await rm(cwd, { recursive: true });
    expect(statuses.length).toBeGreaterThan(SIZES.fuzzExamples);
  });
});

test(`${SIZES.fuzzImages} damaged photos: each is captioned or refused`, async () => {
  const seeds = await seedImages();
  const random = new Random(SIZES.fuzzSeed);
  let left = SIZES.fuzzImages;
  const client = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await send(mutatedImage(seeds, random), random);
    }
  };
  const statuses = await fuzzed('damaged photos', async () => {
    await Promise.all(Array.from({ length: CLIENTS }, client));
  });
  expect(statuses).toHaveLength(SIZES.fuzzImages);
  expect(statuses.filter((status) => ![200, 413, 415, 422].includes(status))).toEqual([]);
});

/** In one of the ways that a photo can come, for one of the tasks. */
async function send(image: Buffer, random: Random): Promise<void> {
  const [route, question] = random.of([
    ['/caption', []],
    ['/vqa', [['question', 'what is it?']]],
  ] as const);
  const query = new URLSearchParams(question.map(([name, value]): [string, string] => [name, value]));
  const bodies: readonly (() => RequestInit)[] = [
    () => ({ body: new Uint8Array(image), headers: { 'Content-Type': 'image/png' } }),
    () => ({ body: form(['image', image], ...question, ['regions', 'true']) }),
    () => ({ body: form(['images', image], ...question, ['explain', 'true']) }),
    () => ({
      body: JSON.stringify({ image: image.toString('base64') || 'AAAA', ...Object.fromEntries(question) }),
      headers: { 'Content-Type': 'application/json' },
    }),
  ];
  const init = random.of(bodies)();
  const url = `http://127.0.0.1:${port}${route}${init.body instanceof Uint8Array ? `?${query.toString()}` : ''}`;
  const response = await fetch(url, { method: 'POST', ...init });
  await response.arrayBuffer();
}
