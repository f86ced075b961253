import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { until } from '../http/plain-client';
import { isAlive } from '../inference/service-under-test';
import { photo } from '../photos';
import { ServerProcess } from './server-process';

let server: ServerProcess | undefined;

afterEach(() => {
  server?.cleanUp();
});

/** A request whose body the server has begun to read. */
async function requestInFlight(port: number, body: Buffer): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  const head = ['POST /caption HTTP/1.1', 'Host: a', 'Content-Type: image/jpeg', `Content-Length: ${body.length}`];
  socket.write([...head, 'Expect: 100-continue', '', ''].join('\r\n'));
  const [invitation] = (await once(socket, 'data')) as [Buffer];
  expect(invitation.toString()).toMatch(/^HTTP\/1.1 100 /);
  return socket;
}

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

const TARGETS: [string, (server: ServerProcess) => Promise<number>][] = [
  ['the server', async (started) => (await started.event('listening')).pid ?? 0],
  ['npm start', (started) => Promise.resolve(started.pid)],
  ['the whole process group', (started) => Promise.resolve(-started.pid)],
];

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  test.each(TARGETS)(
    'to %s: the request in flight is answered, npm exits 0, nothing is left',
    async (_name, target) => {
      server = new ServerProcess(['npm', 'start']);
      await server.event('ready');
      const body = await photo();
      const socket = await requestInFlight(await server.port(), body);
      process.kill(await target(server), signal);
      await server.event('closing');
      socket.write(body);
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 200 [^]*"caption":/);
      expect(await server.exit).toBe(0);
      expect(server.groupLives).toBe(false);
    },
  );
});

test('a signal while the server is loading ends it with 0', async () => {
  server = new ServerProcess(['node', 'dist/main.js']);
  await server.event('listening');
  process.kill(server.pid, 'SIGTERM');
  expect(await server.exit).toBe(0);
  expect(server.groupLives).toBe(false);
});

(process.platform === 'linux' ? test : test.skip)(
  'a terminal that is closed ends the server that was started in it',
  async () => {
    server = new ServerProcess(['script', '--quiet', '--command', 'node dist/main.js', '/dev/null']);
    await server.event('ready');
    const { pid = 0 } = await server.event('listening');
    process.kill(server.pid, 'SIGKILL');
    await until(() => !isAlive(pid));
  },
);

test('connections that ask nothing are closed at once, while a request in flight is finished', async () => {
  server = new ServerProcess(['node', 'dist/main.js']);
  await server.event('ready');
  const port = await server.port();
  const body = await photo();
  const inFlight = await requestInFlight(port, body);
  const silent = connect(port, '127.0.0.1');
  await once(silent, 'connect');
  const keptAlive = connect(port, '127.0.0.1');
  keptAlive.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
  await once(keptAlive, 'data');
  process.kill(server.pid, 'SIGTERM');
  await Promise.all([once(silent.resume(), 'close'), once(keptAlive.resume(), 'close')]);
  inFlight.write(body);
  expect(await readAll(inFlight)).toMatch(/^HTTP\/1.1 200 /);
  expect(await server.exit).toBe(0);
});
