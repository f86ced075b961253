import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Admission } from '../../src/inference/admission';
import { DrainRate } from '../../src/inference/drain-rate';
import { photo } from '../photos';
import { untilAborted } from './fake-service';
import { form, TestServer } from './test-server';
import { until, writeThenRead } from './plain-client';

// Who is let in, and how those who are not hear of it.

let server: TestServer;
let admission: Admission;
let rate: DrainRate;
let jpeg: Buffer;

beforeAll(async () => {
  jpeg = await photo();
});
beforeEach(async () => {
  rate = new DrainRate();
  admission = new Admission({ units: 4, bytes: 100e6, unitsInWork: 4 }, rate);
  server = await TestServer.start({ admission, requestTimeoutMs: 600_000 });
});
afterEach(() => server.close());

/** A server that is quick to find a body too slow. */
async function restartImpatient(): Promise<void> {
  await server.close();
  server = await TestServer.start({ admission, slowestPace: { bytes: 1_000, windowMs: 1_000 } });
}

const IDLE = { units: 0, uploads: 0, bytes: 0 };
const HEAD = ['POST /caption HTTP/1.1', 'Host: localhost', 'Content-Type: image/jpeg'];

function upload(): Socket {
  const socket = connect(server.port, '127.0.0.1');
  socket.write([...HEAD, 'Content-Length: 50000', '', ''].join('\r\n'));
  return socket;
}

/** Takes slots, by default every one; the requests end with the returned function. */
async function fill(slots = 4, client = ''): Promise<() => Promise<void>> {
  server.service.before = untilAborted;
  const leaving = new AbortController();
  const images = Array.from({ length: slots }, () => ['image', jpeg] as const);
  const headers = { 'X-Forwarded-For': client };
  const filling = server.get('/caption', { method: 'POST', body: form(...images), headers, signal: leaving.signal });
  await until(() => admission.loadOf('interactive').units === slots);
  return async () => {
    leaving.abort();
    await expect(filling).rejects.toThrow();
    await until(() => admission.loadOf('interactive').units === 0);
  };
}

test('a request holds as many units as it has pairs of photo and question, and leaves nothing behind', async () => {
  let held: unknown;
  server.service.before = () => {
    held ??= admission.loadOf('interactive');
    return Promise.resolve();
  };
  const images = [jpeg, jpeg].map((image) => image.toString('base64'));
  expect(await server.postJson('/vqa', { images, questions: ['a?', 'b?'] })).toMatchObject({ status: 200 });
  expect(held).toEqual({ units: 4, uploads: 0, bytes: 2 * jpeg.length });
  expect(admission.loadOf('interactive')).toEqual(IDLE);
  expect(await server.postJson('/vqa', { images, questions: ['a?', 'b?', 'c?'] })).toMatchObject({ status: 503 });
  expect(await server.post('/caption', form(['image', Buffer.from('no photo')]))).toMatchObject({ status: 415 });
  expect(admission.loadOf('interactive')).toEqual(IDLE);
});

describe('where every slot is taken', () => {
  let free: () => Promise<void>;
  beforeEach(async () => {
    rate.record(1, 3_000, 1);
    free = await fill();
  });
  afterEach(() => free());

  test('a further request: 503, with the time until those before it are done', async () => {
    const refused = await server.post('/caption', form(['image', jpeg]));
    expect(refused).toMatchObject({ status: 503, body: { code: 'overloaded' } });
    expect(refused.headers.get('retry-after')).toBe('12');
  });

  test('bulk work has slots of its own', async () => {
    server.service.before = () => Promise.resolve();
    expect(await server.post('/caption', form(['image', jpeg]), { 'X-Priority': 'bulk' })).toMatchObject({
      status: 200,
    });
  });

  test('a client that writes all of 12 MB before it reads hears of it', async () => {
    const size = 12_000_000;
    const head = [...HEAD, `Content-Length: ${size}`, 'Connection: close'];
    expect(await writeThenRead(server.port, head, Buffer.alloc(size))).toMatch(/^HTTP\/1.1 503 [^]*overloaded/);
  });

  test.each([
    ['that asks first', []],
    ['that does not ask', ['--header', 'Expect:']],
  ])('curl %s hears of it', async (_how, options) => {
    const args = ['--silent', '--show-error', '--data-binary', '@-', '--header', 'Content-Type: image/jpeg'];
    const curl = spawn('curl', [...args, ...options, server.url('/caption')]);
    const output: Buffer[] = [];
    curl.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    // Curl may end before it has read all of its input.
    curl.stdin.on('error', () => undefined).end(Buffer.alloc(12_000_000));
    const [code] = (await once(curl, 'close')) as [number];
    expect(code).toBe(0);
    expect(JSON.parse(Buffer.concat(output).toString())).toMatchObject({ status: 503, code: 'overloaded' });
  });
});

test('what is not expected to be answered in time is refused on arrival', async () => {
  rate.record(1, 5_000, 1);
  server.service.before = untilAborted;
  const leaving = new AbortController();
  const first = server.get('/caption', { method: 'POST', body: form(['image', jpeg]), signal: leaving.signal });
  await until(() => server.service.jobs.length === 1);
  const refused = await server.post('/caption', form(['image', jpeg]), { 'X-Request-Timeout-Ms': '9000' });
  expect(refused).toMatchObject({
    status: 503,
    body: { code: 'overloaded', detail: 'The answer would take about 15 s, and the deadline is 9 s.' },
  });
  leaving.abort();
  await expect(first).rejects.toThrow();
});

test('uploads under way hold half of the slots at most, and one that is too slow loses its own', async () => {
  await restartImpatient();
  const slow = [upload(), upload()];
  await until(() => admission.loadOf('interactive').uploads === 2);
  expect(await server.post('/caption', form(['image', jpeg]))).toMatchObject({
    status: 503,
    body: { detail: '2 uploads are under way already.' },
  });
  for (const socket of slow) {
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 408 [^]*Connection: close[^]*body_too_slow/);
    await once(socket, 'close');
  }
  await until(() => admission.loadOf('interactive').units === 0);
});

test('a form that comes byte by byte is too slow', async () => {
  await restartImpatient();
  const socket = connect(server.port, '127.0.0.1');
  socket.write('POST /caption HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n');
  socket.write(
    'Content-Length: 50000\r\n\r\n--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n',
  );
  const drip = setInterval(() => socket.write('.'), 10);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  clearInterval(drip);
  expect(answer.toString()).toMatch(/^HTTP\/1.1 408 /);
});

test('a client that leaves in the middle of its upload frees its slot', async () => {
  const socket = upload();
  await until(() => admission.loadOf('interactive').uploads === 1);
  expect(admission.loadOf('interactive')).toEqual({ units: 1, uploads: 1, bytes: 0 });
  socket.write(Buffer.alloc(20_000));
  await until(() => admission.loadOf('interactive').bytes === 20_000);
  socket.destroy();
  await until(() => admission.loadOf('interactive').units === 0);
  expect(admission.loadOf('interactive')).toEqual(IDLE);
});

describe('bodies that announce more than there is room for together', () => {
  const CHUNKED = 'POST /caption HTTP/1.1\r\nHost: a\r\nContent-Type: %\r\nTransfer-Encoding: chunked\r\n\r\n';

  beforeEach(async () => {
    await server.close();
    admission = new Admission({ units: 64, bytes: 65e6, unitsInWork: 4 }, rate);
    server = await TestServer.start({ admission });
  });

  function chunked(type: string): Socket {
    const socket = connect(server.port, '127.0.0.1');
    socket.write(CHUNKED.replace('%', type));
    return socket;
  }

  test('slow ones keep nobody out', async () => {
    const slow = Array.from({ length: 8 }, () => chunked('multipart/form-data; boundary=x'));
    await until(() => admission.loadOf('interactive').uploads === 8);
    expect(await server.post('/caption', form(['image', jpeg]))).toMatchObject({ status: 200 });
    slow.forEach((socket) => socket.destroy());
  });

  test.each(['multipart/form-data; boundary=x', 'image/jpeg', 'application/json'])(
    '%s: the one that finds no room for its next part is refused, and what it held is free',
    async (type) => {
      const filling = admission.enter({ priority: 'interactive', timeoutMs: 1_000, bytes: 0 });
      filling.receive(900_000);
      const socket = chunked(type);
      await until(() => admission.loadOf('interactive').uploads === 2);
      filling.receive(64e6);
      const refused = once(socket, 'data') as Promise<[Buffer]>;
      const part = Buffer.alloc(150_000, ' ');
      socket.write(`${part.length.toString(16)}\r\n`);
      socket.write(part);
      socket.write('\r\n0\r\n\r\n');
      expect((await refused)[0].toString()).toMatch(/^HTTP\/1.1 503 [^]*65 MB of photos are waiting already/);
      await until(() => admission.loadOf('interactive').uploads === 1);
      expect(admission.loadOf('interactive').bytes).toBe(64_900_000);
    },
  );
});

test('the load is in the metrics', async () => {
  const socket = upload();
  await until(() => admission.loadOf('interactive').uploads === 1);
  socket.write(Buffer.alloc(50));
  await until(() => admission.loadOf('interactive').bytes > 0);
  const { body } = await server.get('/metrics');
  expect(body).toContain('distillvlm_queue_depth{priority="interactive"} 1');
  expect(body).toContain('distillvlm_uploads{priority="interactive"} 1');
  expect(body).toContain('distillvlm_body_bytes{priority="interactive"} 50');
  expect(body).toContain('distillvlm_uploads{priority="bulk"} 0');
  socket.destroy();
});

describe('a limit of two requests a minute', () => {
  const ask = (client: string) => server.post('/caption', form(['image', jpeg]), { 'X-Forwarded-For': client });

  async function restart(trustedProxies: number): Promise<void> {
    await server.close();
    server = await TestServer.start({ rateLimit: 2, trustedProxies });
  }

  test('the third of a client gets 429 with what is left and when to come again; health and models are not limited', async () => {
    await restart(0);
    const { status, headers } = await ask('10.0.0.1');
    expect(status).toBe(200);
    expect(headers.get('ratelimit-policy')).toMatch(/q=2; w=60/);
    expect(headers.get('ratelimit')).toMatch(/r=1; t=\d+/);
    // Nobody in front is trusted, so a header makes nobody another client.
    expect(await ask('10.0.0.2')).toMatchObject({ status: 200 });
    const refused = await ask('10.0.0.3');
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await server.get('/models')).toMatchObject({ status: 200 });
  });

  test('a client has half of the waiting photos at most, whose requests are few', async () => {
    await server.close();
    server = await TestServer.start({ admission, rateLimit: 100, trustedProxies: 1 });
    const free = await fill(3, '10.0.0.1');
    const refused = await ask('10.0.0.1');
    expect(refused).toMatchObject({
      status: 429,
      body: { code: 'rate_limited', detail: '3 photos and questions of this client are waiting already.' },
    });
    expect(refused.headers.get('retry-after')).toBe('1');
    server.service.before = () => Promise.resolve();
    expect(await ask('10.0.0.2')).toMatchObject({ status: 200 });
    await free();
  });

  test('behind a trusted proxy each of its clients has its own', async () => {
    await restart(1);
    const statuses = [];
    for (const client of ['10.0.0.1', '10.0.0.1', '10.0.0.1', '10.0.0.2']) {
      statuses.push((await ask(client)).status);
    }
    expect(statuses).toEqual([200, 200, 429, 200]);
  });
});
