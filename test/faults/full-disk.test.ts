import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { until } from '../http/plain-client';
import { photo } from '../photos';
import { freePorts } from '../servers/free-ports';
import { ServerProcess } from '../start/server-process';

// Nothing that the server writes, logs and words for its starter, is worth an answer or its end.

const SERVER = 'exec node dist/main.js';
/** More than a pipe holds, which is 64 kB. */
const LINES = 400;

let server: ServerProcess | undefined;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'full-'));
});
afterEach(async () => {
  server?.cleanUp();
  await rm(folder, { recursive: true });
});

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health/ready`)).ok;
  } catch {
    return false;
  }
}

test.each([
  ['logs go to a full device', `${SERVER} > /dev/full`],
  ['logs and words go to a full device', `${SERVER} > /dev/full 2>&1`],
  ['the log has reached the largest size of a file', `ulimit -f 1; ${SERVER} > "$FOLDER/log"`],
  ['the reader of the logs has gone', `${SERVER} > >(exit)`],
  ['the reader of the logs takes nothing', `${SERVER} > >(exec sleep 600)`],
  ['no temporary file can be made', `TMPDIR=/dev/full ${SERVER} > "$FOLDER/log"`],
])('%s: requests are answered, and SIGTERM ends the server with 0', async (_circumstance, command) => {
  const [port] = await freePorts(1);
  server = new ServerProcess(['bash', '-c', command], { PORT: String(port), FOLDER: folder });
  const url = `http://127.0.0.1:${port}`;
  await until(() => isReady(url));
  for (let n = 0; n < LINES; n += 1) {
    await (await fetch(`${url}/health/live`)).arrayBuffer();
  }
  const body = new Uint8Array(await photo());
  const response = await fetch(`${url}/caption`, { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body });
  expect(await response.json()).toMatchObject({ caption: expect.any(String) as unknown, width: 12 });
  process.kill(server.pid, 'SIGTERM');
  expect(await server.ended).toBe(0);
});

test('lost log lines are told of once on standard error, and counted', async () => {
  const [port] = await freePorts(1);
  server = new ServerProcess(['bash', '-c', `${SERVER} > /dev/full`], { PORT: String(port) });
  const url = `http://127.0.0.1:${port}`;
  await until(() => isReady(url));
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(Number(/^distillvlm_log_lines_dropped_total (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(1);
  expect(server.stderr.match(/Log lines are lost \(ENOSPC/g)).toHaveLength(1);
});
