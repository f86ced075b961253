import { goldenImage } from '../golden';
import { ServerProcess } from '../start/server-process';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

// Inference processes are killed at random while clients keep them busy: no reply is lost, and none is wrong.

const CLIENTS = 6;
const PHOTOS = ['exif-1.jpg', 'exif-6.jpg', 'grey.png', 'transparent.png', 'animated.webp'].map(goldenImage);

interface Reply {
  readonly photo: number;
  readonly status: number;
  readonly body: { readonly caption?: string; readonly code?: string };
  readonly retryAfter: string | null;
}

let server: ServerProcess;
let url: string;

beforeAll(async () => {
  server = new ServerProcess(['node', 'dist/main.js'], { INFERENCE_PROCESSES: '2', REQUEST_TIMEOUT_MS: '600000' });
  await server.event('ready');
  url = `http://127.0.0.1:${await server.port()}/caption`;
});
afterAll(() => {
  server.cleanUp();
});

async function ask(photo: number): Promise<Reply> {
  const headers = { 'Content-Type': 'image/jpeg' };
  const body = new Uint8Array(PHOTOS[photo] ?? []);
  const response = await fetch(url, { method: 'POST', headers, body });
  const retryAfter = response.headers.get('retry-after');
  return { photo, status: response.status, body: (await response.json()) as Reply['body'], retryAfter };
}

/** Asks one photo after another until it is told to stop. */
async function client(first: number, stop: AbortSignal): Promise<Reply[]> {
  const replies: Reply[] = [];
  for (let n = first; !stop.aborted; n += 1) {
    replies.push(await ask(n % PHOTOS.length));
  }
  return replies;
}

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
  const expected: (string | undefined)[] = [];
  for (const photo of PHOTOS.keys()) {
    expected.push((await ask(photo)).body.caption);
  }
  const stop = new AbortController();
  const clients = Array.from({ length: CLIENTS }, (_, first) => client(first, stop.signal));
  const killed = new Set<number>();
  while (killed.size < SIZES.kills) {
    await killOne(killed);
  }
  stop.abort();
  const replies = (await Promise.all(clients)).flat();
  const refusals = replies.filter(({ status }) => status !== 200);
  for (const { photo, body } of replies.filter(({ status }) => status === 200)) {
    expect(body.caption).toBe(expected[photo]);
  }
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
