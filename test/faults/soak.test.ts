import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { goldenImage } from '../golden';
import { until } from '../http/plain-client';
import { form } from '../http/test-server';
import { ServerProcess } from '../start/server-process';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

// What clients do, right and wrong, over and over: memory stays within a bound that is far below what was sent.

/** Resident, of a process with the tiny bundle; docs/operations.md publishes it. */
const BOUND_BYTES = 300e6;
const LARGE = Buffer.concat([goldenImage('exif-1.jpg').subarray(0, 500), Buffer.alloc(15_000_000)]);

let server: ServerProcess;
let port: number;

beforeAll(async () => {
  server = new ServerProcess(['node', 'dist/main.js'], { CACHE_MB: '8', LOG_LEVEL: 'info' });
  await server.event('ready');
  port = await server.port();
});
afterAll(() => {
  server.cleanUp();
});

async function post(path: string, body: FormData): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body });
  await response.arrayBuffer();
  return response.status;
}

/** Sends the beginning of a photo and leaves. */
async function leaveInTheMiddle(): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write('POST /caption HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 5000000\r\n\r\n');
  await new Promise((resolve) => socket.write(Buffer.alloc(1_000_000), resolve));
  socket.destroy();
}

async function round(n: number): Promise<void> {
  const photo = goldenImage(['exif-1.jpg', 'rgb-16-bit.png', 'animated.webp', 'cmyk.jpg'][n % 4] ?? 'small.png');
  const statuses = await Promise.all([
    post('/caption', form(['image', photo])),
    post('/caption', form(['image', photo], ['image', photo.subarray(0, photo.length / 2)])),
    post('/vqa', form(['image', photo], ['question', `is it number ${n}?`], ['explain', 'true'])),
    post('/caption', form(['image', LARGE])),
    post('/caption', form(['imgae', photo])),
    leaveInTheMiddle(),
  ]);
  expect(statuses.slice(0, 5)).toEqual([200, 200, 200, 422, 400]);
}

async function metrics(): Promise<string> {
  return (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

test(`${SIZES.rounds} rounds: no process grows beyond its bound, and all that was taken is given back`, async () => {
  const pids = [server.pid, server.logged('inference_process_ready')[0]?.pid ?? 0];
  for (let n = 0; n < SIZES.rounds; n += 1) {
    await round(n);
    for (const resident of await Promise.all(pids.map(residentBytes))) {
      expect(resident).toBeLessThan(BOUND_BYTES);
    }
  }
  // The server may hear a little later that a client has left.
  await until(async () => (await metrics()).includes('distillvlm_queue_depth{priority="interactive"} 0'));
  expect(await metrics()).toContain('distillvlm_body_bytes{priority="interactive"} 0');
  expect(await metrics()).not.toContain('outcome="internal_error"');
  process.kill(server.pid, 'SIGTERM');
  expect(await server.exit).toBe(0);
});
