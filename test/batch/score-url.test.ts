import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../golden';
import { keyFile, lineOf } from '../http/test-server';
import { freePorts } from '../servers/free-ports';
import { ServerProcess } from '../start/server-process';
import { CANNOT_RUN, readRows, score, SOME_PHOTO_FAILED } from './score-process';
import { temporaryFolder } from './temporary-folder';

jest.setTimeout(180_000);

const at = temporaryFolder();
const NAMES = ['exif-1.jpg', 'animated.webp', 'grey.png', 'exif-6.jpg', 'transparent.png'];
const PHOTOS = 40;
const BROKEN = 13;
let servers: ServerProcess[] = [];

afterEach(() => {
  servers.forEach((server) => {
    server.cleanUp();
  });
  servers = [];
});

function startServer(environment: Record<string, string>): ServerProcess {
  const server = new ServerProcess([process.execPath, 'dist/main.js'], environment);
  servers.push(server);
  return server;
}

test('a server that is killed and comes back loses no photo; a broken one fails; the answers are the local ones', async () => {
  mkdirSync(at('photos'));
  for (let n = 0; n < PHOTOS; n += 1) {
    const photo = goldenImage(NAMES[n % NAMES.length] ?? '');
    writeFileSync(at('photos', `${String(n).padStart(3, '0')}.jpg`), n === BROKEN ? photo.subarray(0, 1_000) : photo);
  }
  await score([at('photos'), '--out', at('local.jsonl')]);

  const [port = 0] = await freePorts(1);
  const environment = {
    PORT: String(port),
    API_KEYS_FILE: keyFile(lineOf('alice', 'a1')),
    // One photo after the other, so that the kill meets the run in its middle, and none from the cache.
    MAX_BATCH: '1',
    CACHE_MB: '0',
  };
  const first = startServer(environment);
  await first.event('ready');
  const args = [at('photos'), '--url', `http://127.0.0.1:${port}`, '--out', at('remote.jsonl')];

  const refused = await score(args, { environment: { API_KEY: 'a2' } });
  expect([refused.code, refused.said]).toEqual([CANNOT_RUN, expect.stringContaining('refuses the key of API_KEY')]);

  const run = score(args, { environment: { API_KEY: 'a1' } });
  while (first.logged('request').length < 5) {
    await sleep(5);
  }
  first.cleanUp();
  await first.exit;
  await startServer(environment).event('ready');

  expect((await run).code).toBe(SOME_PHOTO_FAILED);
  const local = readRows(at('local.jsonl'));
  expect(readRows(at('remote.jsonl'))).toEqual(
    local.map(({ score: confidence, log_probability, ...row }) =>
      row['problem'] === undefined
        ? {
            ...row,
            // The server makes batches of its own, with which last decimals may change.
            score: expect.closeTo(confidence as number, 3) as number,
            log_probability: expect.closeTo(log_probability as number, 2) as number,
          }
        : row,
    ),
  );
  expect(local).toHaveLength(PHOTOS);
});
