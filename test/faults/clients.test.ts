import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { until } from '../http/plain-client';
import { ServerProcess } from '../start/server-process';
import { captionsOf, Clients, expectCaptions, PHOTOS } from './clients';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

// Clients that send byte by byte, stall, leave or do not listen, beside others, who notice nothing of it.

const HEAD = 'POST /caption HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n';
const SMALL = PHOTOS[2] ?? Buffer.alloc(0);

let server: ServerProcess;
let port: number;

beforeAll(async () => {
  server = new ServerProcess(['node', 'dist/main.js'], { REQUEST_TIMEOUT_MS: '600000' });
  await server.event('ready');
  port = await server.port();
});
afterAll(() => {
  server.cleanUp();
});

async function connected(): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}

async function firstLine(socket: Socket): Promise<string> {
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString().split('\r\n', 1)[0] ?? '';
}

/** Head and body, each byte in a packet of its own. */
async function byteByByte(): Promise<string> {
  const socket = await connected();
  const answer = firstLine(socket);
  for (const byte of Buffer.concat([Buffer.from(`${HEAD}Content-Length: ${SMALL.length}\r\n\r\n`), SMALL])) {
    await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
  }
  return answer;
}

/** A byte every now and then, for ever. */
async function drip(): Promise<string> {
  const socket = await connected();
  socket.write(`${HEAD}Content-Length: 100000\r\n\r\n`);
  const drops = setInterval(() => socket.write('.'), 50);
  const answer = await firstLine(socket);
  clearInterval(drops);
  return answer;
}

async function stall(): Promise<string> {
  const socket = await connected();
  socket.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n`);
  return firstLine(socket);
}

/** Leaves once `bytes` of the request are out. */
async function leave(bytes: number): Promise<void> {
  const socket = await connected();
  const request = Buffer.concat([Buffer.from(`${HEAD}Content-Length: ${SMALL.length}\r\n\r\n`), SMALL]);
  await new Promise((resolve) => socket.write(request.subarray(0, bytes), resolve));
  socket.destroy();
}

/** Asks for a long answer again and again, and reads none. */
async function ignoreAnswers(): Promise<Socket> {
  const socket = await connected();
  socket.pause().on('error', () => undefined);
  for (let n = 0; n < 100; n += 1) {
    socket.write('GET /openapi.yaml HTTP/1.1\r\nHost: a\r\n\r\n');
  }
  return socket;
}

async function round(): Promise<void> {
  const ignoring = await ignoreAnswers();
  const [whole, dripped, stalled] = await Promise.all([
    byteByByte(),
    drip(),
    stall(),
    leave(20),
    leave(HEAD.length + 40),
    leave(HEAD.length + SMALL.length),
    leave(100_000),
  ]);
  ignoring.destroy();
  expect([whole, dripped, stalled]).toEqual([
    'HTTP/1.1 200 OK',
    'HTTP/1.1 408 Request Timeout',
    'HTTP/1.1 408 Request Timeout',
  ]);
}

test('the others get their captions, and all that was taken is given back', async () => {
  const expected = await captionsOf(port);
  const clients = new Clients(port, 4);
  for (let n = 0; n < SIZES.clientRounds; n += 1) {
    await round();
  }
  expect(expectCaptions(await clients.end(), expected)).toEqual([]);
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await until(async () => (await metrics()).includes('distillvlm_queue_depth{priority="interactive"} 0'));
  expect(await metrics()).toContain('distillvlm_uploads{priority="interactive"} 0');
  expect(await metrics()).not.toContain('outcome="internal_error"');
  process.kill(server.pid, 'SIGTERM');
  expect(await server.exit).toBe(0);
});
