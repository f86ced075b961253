import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceError } from '../../src/errors';
import { photo } from '../photos';
import { untilAborted } from './fake-service';
import { until, writeThenRead } from './plain-client';
import { form, TestServer } from './test-server';

let server: TestServer;
let jpeg: Buffer;

beforeAll(async () => {
  jpeg = await photo();
});
beforeEach(async () => {
  server = await TestServer.start({ requestTimeoutMs: 60_000 });
});
afterEach(() => server.close());

describe('a refusal reaches a client that writes its whole body first', () => {
  const size = 30_000_000;
  const head = (type: string) => [
    'POST /caption HTTP/1.1',
    'Host: localhost',
    `Content-Type: ${type}`,
    `Content-Length: ${size}`,
    'Connection: close',
  ];

  test.each([
    ['raw photo that is too large', 'image/jpeg', '413'],
    ['JSON that is too large', 'application/json', '413'],
    ['content type that is not accepted', 'text/plain', '415'],
  ])('%s', async (_circumstance, type, status) => {
    expect(await writeThenRead(server.port, head(type), Buffer.alloc(size))).toMatch(
      new RegExp(`^HTTP/1.1 ${status} `),
    );
  });
});

test('a form that is refused is not read to its end, however long it goes on', async () => {
  const socket = connect(server.port, '127.0.0.1');
  const head = ['POST /caption HTTP/1.1', 'Host: a', 'Content-Type: multipart/form-data; boundary=x'];
  socket.write([...head, 'Content-Length: 63000000', '', ''].join('\r\n'));
  socket.write('--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n');
  socket.write(Buffer.alloc(21_000_000));
  // Fast enough for the pace of a body, and without end.
  const drip = setInterval(() => socket.write(Buffer.alloc(1_000)), 10);
  const [answer] = (await Promise.race([once(socket, 'data'), sleep(8_000, [], { ref: false })])) as [Buffer?];
  clearInterval(drip);
  socket.destroy();
  expect(answer?.toString()).toMatch(/^HTTP\/1.1 413 [^]*Connection: close[^]*image_too_large/);
});

describe('a client that asks before it sends its body', () => {
  /** @returns the answer's status and whether the server wanted the body. */
  async function askAndSend(
    body: Buffer,
    expect = '100-continue',
  ): Promise<{ status: number | undefined; invited: boolean }> {
    const headers = { Expect: expect, 'Content-Type': 'image/jpeg', 'Content-Length': body.length };
    const asking = request(server.url('/caption'), { method: 'POST', headers });
    let invited = false;
    asking.on('continue', () => {
      invited = true;
      asking.end(body);
    });
    asking.flushHeaders();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    response.resume();
    asking.destroy();
    return { status: response.statusCode, invited };
  }

  test('a body that is too large is refused and not sent', async () => {
    expect(await askAndSend(Buffer.alloc(30_000_000))).toEqual({ status: 413, invited: false });
  });

  test.each(['100-continue', '100-Continue'])(
    'by %s, a body that is accepted is sent and answered',
    async (expect_) => {
      expect(await askAndSend(jpeg, expect_)).toEqual({ status: 200, invited: true });
    },
  );
});

test('a client that leaves has its work dropped, and its request counted', async () => {
  server.service.before = untilAborted;
  const leaving = new AbortController();
  const answer = server.get('/caption', { method: 'POST', body: form(['image', jpeg]), signal: leaving.signal });
  await until(() => server.service.signals.length === 1);
  leaving.abort();
  await expect(answer).rejects.toThrow();
  await until(() => server.service.signals[0]?.aborted === true);
  await until(() => server.log.some((line) => line.includes('"client_closed"')));
  expect((await server.get('/metrics')).body).toContain('outcome="client_closed"} 1');
});

test('a client that leaves in the middle of its upload does no harm', async () => {
  const socket = connect(server.port, '127.0.0.1');
  socket.write(
    'POST /caption HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 9999\r\n\r\nabc',
  );
  await until(async () => (await server.get('/health/live')).status === 200);
  socket.destroy();
  await until(() => server.log.some((line) => line.includes('"client_closed"')));
  expect(server.service.jobs).toHaveLength(0);
  expect(await server.post('/caption', form(['image', jpeg]))).toMatchObject({ status: 200 });
});

test('an answer that takes longer than the deadline: 504, and its work is dropped', async () => {
  await server.close();
  server = await TestServer.start({ requestTimeoutMs: 20 });
  server.service.before = untilAborted;
  expect(await server.post('/caption', form(['image', jpeg]))).toMatchObject({
    status: 504,
    body: { code: 'deadline_exceeded', detail: expect.stringContaining('0.02 s') as unknown },
  });
  expect(server.service.signals[0]?.aborted).toBe(true);
});

test('a request may name its own deadline', async () => {
  server.service.before = untilAborted;
  const send = (timeout: string) => server.post('/caption', form(['image', jpeg]), { 'X-Request-Timeout-Ms': timeout });
  expect(await send('30')).toMatchObject({
    status: 504,
    body: { detail: expect.stringContaining('0.03 s') as unknown },
  });
  expect(await send('0')).toMatchObject({ status: 400, body: { code: 'limit_exceeded' } });
  expect(await send('600001')).toMatchObject({ status: 400, body: { code: 'limit_exceeded' } });
  expect(await send('soon')).toMatchObject({
    status: 400,
    body: { detail: 'X-Request-Timeout-Ms must be a whole number.' },
  });
});

test('a fault that is not of one photo fails the request and drops the other photos', async () => {
  server.service.before = (job, signal) =>
    job.image.length === jpeg.length
      ? Promise.reject(new ServiceError('overloaded', 'The queue is full.', { retryAfterSeconds: 7 }))
      : untilAborted(job, signal);
  const answer = await server.post('/caption', form(['image', await photo('png')], ['image', jpeg]));
  expect(answer).toMatchObject({ status: 503, body: { code: 'overloaded', detail: 'The queue is full.' } });
  expect(answer.headers.get('retry-after')).toBe('7');
  expect(server.service.signals[0]?.aborted).toBe(true);
});

test('a photo that kills inference twice fails alone', async () => {
  server.service.before = (job) =>
    job.image.length === jpeg.length
      ? Promise.reject(new ServiceError('inference_crashed', 'The photo cannot be processed.'))
      : Promise.resolve();
  const { body } = await server.post('/caption', form(['image', jpeg], ['image', await photo('png')]));
  expect(body).toMatchObject({
    results: [{ problem: { code: 'inference_crashed' } }, { caption: expect.anything() as unknown }],
  });
});

test('a fault of the server itself is logged with its reason, of which the client learns nothing', async () => {
  server.service.before = () => Promise.reject(new Error('reason 4711'));
  const { status, body } = await server.post('/caption', form(['image', jpeg]));
  expect({ status, body }).toMatchObject({ status: 500, body: { code: 'internal_error' } });
  expect(JSON.stringify(body)).not.toContain('4711');
  expect(server.log.join()).toContain('reason 4711');
});
