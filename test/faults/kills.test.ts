import { ServerProcess } from '../start/server-process';
import { captionsOf, Clients, expectCaptions } from './clients';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

// Inference processes are killed at random while clients keep them busy: no reply is lost, and none is wrong.

let server: ServerProcess;
let port: number;

beforeAll(async () => {
  server = new ServerProcess(['node', 'dist/main.js'], { INFERENCE_PROCESSES: '2', REQUEST_TIMEOUT_MS: '600000' });
  await server.event('ready');
  port = await server.port();
});
afterAll(() => {
  server.cleanUp();
});

/** Kills one of the processes that live, and waits until another has taken its place. */
async function killOne(killed: Set<number>): Promise<void> {
  const started = server.logged('inference_process_ready');
  const living = started.flatMap(({ pid }) => (pid === undefined || killed.has(pid) ? [] : [pid]));
  const victim = living[Math.floor(Math.random() * living.length)];
  if (victim === undefined) {
    throw new Error('Expected an inference process that lives');
  }
  // Somewhere in its work.
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
  killed.add(victim);
  process.kill(victim, 'SIGKILL');
  while (server.logged('inference_process_ready').length === started.length) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test(`${SIZES.kills} processes killed under load: every request is answered, and rightly`, async () => {
  const expected = await captionsOf(port);
  const clients = new Clients(port, 6);
  const killed = new Set<number>();
  while (killed.size < SIZES.kills) {
    await killOne(killed);
  }
  const replies = await clients.end();
  const refusals = expectCaptions(replies, expected);
  // Only who was in two killed processes one after the other has no caption.
  for (const { status, body, retryAfter } of refusals) {
    expect([status, body.code]).toEqual([503, 'inference_crashed']);
    expect(Number(retryAfter)).toBeGreaterThan(0);
  }
  expect(replies.length - refusals.length).toBeGreaterThan(refusals.length);
  process.kill(server.pid, 'SIGTERM');
  expect(await server.exit).toBe(0);
  expect(server.groupLives).toBe(false);
});
