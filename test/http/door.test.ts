import { Admission } from '../../src/inference/admission';
import { DrainRate } from '../../src/inference/drain-rate';
import type { AppOptions } from '../../src/http/express-app';
import { ApiKeys } from '../../src/http/api-keys';
import { photo } from '../photos';
import { DOCUMENT, form, keyFile, lineOf, TestServer } from './test-server';

// What a request hears that there is no room for: all that Express would have told it.

let server: TestServer;
let jpeg: Buffer;

beforeAll(async () => {
  jpeg = await photo();
});
afterEach(() => server.close());

/** A server without room: uploads may hold half of its one slot. */
async function start(options: Partial<AppOptions> = {}): Promise<void> {
  server = await TestServer.start({
    admission: new Admission({ units: 1, bytes: 100e6, unitsInWork: 1 }, new DrainRate()),
    ...options,
  });
}

const ask = (headers: Record<string, string> = {}, path = '/caption') =>
  server.post(path, form(['image', jpeg]), headers);

test.each(['/caption', '/vqa?question=what'])(
  '%s: a problem as openapi.yaml has it, and the headers of every response',
  async (path) => {
    await start();
    const refused = await ask({ 'X-Request-Id': 'mine' }, path);
    expect(refused).toMatchObject({
      status: 503,
      type: 'application/problem+json',
      body: { code: 'overloaded', detail: '0 uploads are under way already.', request_id: 'mine' },
    });
    const route = path.split('?', 1)[0] ?? '';
    expect(DOCUMENT.checkResponse(route, 'POST', 503, refused.type, refused.body)).toBeUndefined();
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(refused.headers.get('x-request-id')).toBe('mine');
    const others = (await server.get('/health/live')).headers;
    for (const name of ['content-security-policy', 'x-content-type-options', 'x-frame-options']) {
      expect(refused.headers.get(name)).toBe(others.get(name));
    }
  },
);

test('it is counted and logged as others are', async () => {
  await start();
  await ask({ traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
  expect(server.log.map((line) => JSON.parse(line) as object)).toEqual([
    expect.objectContaining({
      event: 'request',
      traceId: '0af7651916cd43dd8448eb211c80319c',
      method: 'POST',
      route: '/caption',
      status: 503,
      outcome: 'overloaded',
    }),
  ]);
  expect((await server.get('/metrics')).body).toContain(
    'distillvlm_requests_total{route="/caption",outcome="overloaded"} 1',
  );
});

test('only a client with a key hears of the load', async () => {
  await start({ keys: await ApiKeys.read(keyFile(lineOf('alice', 'a1'))) });
  expect(await ask()).toMatchObject({ status: 401 });
  expect(await ask({ Authorization: 'Bearer a2' })).toMatchObject({ status: 401 });
  expect(await ask({ Authorization: 'Bearer a1' })).toMatchObject({ status: 503 });
  expect(server.log.at(-1)).toContain('"client":"alice"');
});

test('it counts for the limit of its client', async () => {
  await start({ rateLimit: 1 });
  const first = await ask();
  expect(first).toMatchObject({ status: 503, body: { code: 'overloaded' } });
  expect(first.headers.get('ratelimit')).toContain('r=0');
  expect(await ask()).toMatchObject({ status: 429 });
});

test('a page of an origin that may read answers may read it', async () => {
  await start({ corsOrigins: ['https://a.example'] });
  const refused = await ask({ Origin: 'https://a.example' });
  expect(refused).toMatchObject({ status: 503, body: { code: 'overloaded' } });
  expect(refused.headers.get('access-control-allow-origin')).toBe('https://a.example');
});

test.each([
  ['a body that is larger than any may be', { 'Content-Type': 'image/jpeg' }, 413],
  ['a body of another type', { 'Content-Type': 'text/plain' }, 415],
])('%s is told so, and not to come again', async (_circumstance, headers, status) => {
  await start({ admission: new Admission({ units: 4, bytes: 1, unitsInWork: 1 }, new DrainRate()) });
  const refused = await server.post('/caption', new Uint8Array(20_000_001), headers);
  expect(refused.status).toBe(status);
  expect(refused.headers.get('retry-after')).toBeNull();
});

test('a wrong header is told, and so is the end of the server', async () => {
  await start();
  expect(await ask({ 'X-Priority': 'urgent' })).toMatchObject({ status: 400 });
  server.closing.abort();
  expect(await ask()).toMatchObject({ status: 503, body: { code: 'shutting_down' } });
});
