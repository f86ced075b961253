import { once } from 'node:events';
import { connect } from 'node:net';
import path from 'node:path';
import { ServerProcess } from '../start/server-process';
import { ask, captionsOf, Clients, expectCaptions } from './clients';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

// A wall clock that jumps about by hours, in the server and its processes: deadlines, paces and limits do not.

const STEPPING = { NODE_OPTIONS: `--require ${path.join(__dirname, 'stepping-clock.js')}` };

let server: ServerProcess | undefined;

afterEach(() => {
  server?.cleanUp();
});

async function start(environment: Record<string, string>): Promise<{ server: ServerProcess; port: number }> {
  server = new ServerProcess(['node', 'dist/main.js'], { ...STEPPING, ...environment });
  await server.event('ready');
  return { server, port: await server.port() };
}

test('every request is answered, and rightly, and SIGTERM ends the server with 0', async () => {
  const { server, port } = await start({ INFERENCE_PROCESSES: '2' });
  const expected = await captionsOf(port);
  const clients = new Clients(port, 6);
  await new Promise((resolve) => setTimeout(resolve, SIZES.clockSeconds * 1_000));
  expect(expectCaptions(await clients.end(), expected)).toEqual([]);
  const times = server.logged('request').map(({ time }) => Date.parse(String(time)));
  // The clock did jump: by more than the test can take.
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(3_600_000);
  process.kill(server.pid, 'SIGTERM');
  expect(await server.exit).toBe(0);
});

test('a limit of requests a minute holds, and a body that stalls is found', async () => {
  const { port } = await start({ RATE_LIMIT: '3' });
  const stalled = connect(port, '127.0.0.1');
  stalled.write('POST /caption HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 9000\r\n\r\n.');
  const [answer] = (await once(stalled, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 408 /);
  const statuses: number[] = [];
  for (let n = 0; n < 4; n += 1) {
    statuses.push((await ask(port, 0)).status);
  }
  expect(statuses).toEqual([200, 200, 429, 429]);
});
