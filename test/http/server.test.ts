import { once } from 'node:events';
import type { RequestListener, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { HttpServer, type ServerOptions } from '../../src/http/server';
import { until } from './plain-client';

// What a connection may hold of the server.

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

let server: HttpServer;
let clients: Socket[];

afterEach(async () => {
  clients.forEach((client) => client.destroy());
  await server.close(0);
});

async function listen(app: RequestListener, options: Partial<ServerOptions> = {}): Promise<void> {
  clients = [];
  server = await HttpServer.listen(app, { host: '127.0.0.1', port: 0, maxConnections: 10, ...options });
}

function client(): Socket {
  const socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => undefined);
  clients.push(socket);
  return socket;
}

/** All that the server says to it on a connection that it then ends. */
async function allOf(socket: Socket, sent: string): Promise<string> {
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.write(sent);
  await once(socket, 'close');
  return answer;
}

test('requests that a connection sends ahead are worked on one after the other, in their order', async () => {
  const inWork: ServerResponse[] = [];
  await listen((_request, response) => inWork.push(response));
  const socket = client();
  let answers = '';
  socket.on('data', (chunk: Buffer) => {
    answers += chunk.toString();
  });
  socket.write(GET.repeat(3));
  for (const name of ['first', 'second', 'third']) {
    await until(() => inWork.length === 1);
    inWork.pop()?.end(name);
    expect(inWork).toEqual([]);
  }
  await until(() => answers.includes('third'));
  expect(answers.match(/first|second|third/g)).toEqual(['first', 'second', 'third']);
});

test('one that sends hundreds ahead is closed', async () => {
  let begun = 0;
  await listen(() => (begun += 1));
  const socket = client();
  socket.write(GET.repeat(500));
  await once(socket, 'close');
  expect(begun).toBe(1);
});

test('what was sent ahead is dropped with its connection', async () => {
  const inWork: ServerResponse[] = [];
  await listen((_request, response) => inWork.push(response));
  const socket = client();
  socket.write(GET.repeat(3));
  await until(() => inWork.length === 1);
  socket.destroy();
  await until(() => inWork[0]?.closed === true);
  expect(inWork).toHaveLength(1);
});

test('a client that takes nothing of its response is cut off', async () => {
  const size = 50_000_000;
  let isClosed = false;
  await listen(
    (_request, response) => {
      response.end(Buffer.alloc(size)).once('close', () => (isClosed = true));
    },
    { stallMs: 200 },
  );
  const socket = client().pause();
  socket.write(GET);
  await until(() => isClosed);
  let received = 0;
  socket.on('data', (chunk: Buffer) => (received += chunk.length)).resume();
  await once(socket, 'close');
  expect(received).toBeLessThan(size);
});

test('one that waits for an answer is not, however long it takes', async () => {
  await listen((_request, response) => void setTimeout(() => response.end('late'), 500), { stallMs: 100 });
  const socket = client();
  socket.write(GET);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toContain('late');
});

test.each<[string, string, number, string]>([
  ['is no HTTP', 'no request\r\n\r\n', 400, 'invalid_request'],
  ['has endless headers', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 400, 'limit_exceeded'],
])('what %s is answered as all else is refused', async (_what, sent, status, code) => {
  await listen(() => undefined);
  const answer = await allOf(client(), sent);
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*^Content-Type: application/problem\\+json`, 'm'));
  expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({ status, code });
});

test('what breaks off into nonsense in the middle of a response gets no other one', async () => {
  await listen((_request, response) => response.writeHead(200, { 'Content-Length': 4 }).write('he'));
  const socket = client();
  socket.once('data', () => socket.write('no request\r\n\r\n'));
  await expect(allOf(socket, GET)).resolves.toMatch(/\r\n\r\nhe$/);
});

test('an expectation that is none of ours is no reason to refuse', async () => {
  await listen((_request, response) => response.end('here'));
  const answer = await allOf(client(), `GET / HTTP/1.1\r\nHost: a\r\nExpect: joy\r\nConnection: close\r\n\r\n`);
  expect(answer).toMatch(/^HTTP\/1.1 200 [^]*here$/);
});

test('connections beyond the limit are closed', async () => {
  await listen((_request, response) => response.end('here'), { maxConnections: 1 });
  const first = client();
  first.write(GET);
  await once(first, 'data');
  const second = client();
  await once(second, 'close');
  first.write(GET);
  await once(first, 'data');
});
