import { ServerProcess } from '../start/server-process';
import { captionsOf, Clients, expectCaptions } from './clients';
import { SIZES, TIMEOUT_MS } from './sizes';

jest.setTimeout(TIMEOUT_MS);

// The server is told to end while clients keep it busy: who was let in is answered, who was not is told so.

let server: ServerProcess | undefined;
/** Of all times together: a busy machine may end a server between two requests. */
let refused = 0;

afterEach(() => {
  server?.cleanUp();
});
afterAll(() => {
  expect(refused).toBeGreaterThan(0);
});

test.each(Array.from({ length: SIZES.ends }, (_, n) => n + 1))(
  'SIGTERM under load, time %i: every request is answered rightly or refused, and the server exits 0',
  async () => {
    server = new ServerProcess(['node', 'dist/main.js']);
    await server.event('ready');
    const port = await server.port();
    const expected = await captionsOf(port);
    const clients = new Clients(port, 16);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 1_000));
    process.kill(server.pid, 'SIGTERM');
    const refusals = expectCaptions(await clients.replies(), expected);
    for (const { status, body, retryAfter } of refusals) {
      expect([status, body.code]).toEqual([503, 'shutting_down']);
      expect(Number(retryAfter)).toBeGreaterThan(0);
    }
    refused += refusals.length;
    expect(await server.exit).toBe(0);
    expect(server.groupLives).toBe(false);
  },
);
