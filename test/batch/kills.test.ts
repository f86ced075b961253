import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../golden';
import { journalled, readRows, score, SOME_PHOTO_FAILED, startScore } from './score-process';
import { temporaryFolder } from './temporary-folder';

/** Small here; at full size by `bench/score-kills.sh`. */
const PHOTOS = Number(process.env['SCORE_PHOTOS'] ?? 60);
const KILLS = Number(process.env['SCORE_KILLS'] ?? 5);
const BATCH_SIZE = 2;
/** One kill of so many comes before the first batch. */
const EARLY = 5;
const BATCHES = Math.ceil(PHOTOS / BATCH_SIZE);

jest.setTimeout(120_000 + PHOTOS * 2_000 + KILLS * 60_000);

const at = temporaryFolder();
const NAMES = ['exif-1.jpg', 'animated.webp', 'grey.png', 'exif-6.jpg', 'transparent.png', 'cmyk.jpg', 'large.jpg'];

/** What lies beside the photos, which is taken away. */
function takeSidecars(): [string, string][] {
  const names = readdirSync(at('photos')).filter((name) => !name.endsWith('.jpg'));
  return names.sort().map((name) => {
    const content = readFileSync(at('photos', name), 'utf8');
    rmSync(at('photos', name));
    return [name, content];
  });
}

test(`${PHOTOS} photos and ${KILLS} kills at any moment: the bytes of an unbroken run`, async () => {
  mkdirSync(at('photos'));
  for (let n = 0; n < PHOTOS; n += 1) {
    const photo = goldenImage(NAMES[n % NAMES.length] ?? '');
    const name = `photos/${String(n).padStart(5, '0')}.jpg`;
    writeFileSync(at(name), n % 17 === 5 ? photo.subarray(0, 1_000) : photo);
  }
  const args = [at('photos'), '--batch-size', String(BATCH_SIZE), '--workers', '2', '--sidecar', 'txt'];
  const spawnedMs = performance.now();
  const unbroken = score([...args, '--out', at('unbroken.jsonl')]);
  while (journalled(at('unbroken.jsonl')) === 0) {
    await sleep(5);
  }
  const startMs = performance.now() - spawnedMs;
  expect((await unbroken).code).toBe(SOME_PHOTO_FAILED);
  const batchMs = (performance.now() - spawnedMs - startMs) / BATCHES;
  const expectedSidecars = takeSidecars();

  const out = at('out.jsonl');
  const done = [0];
  for (let kills = 0; kills < KILLS; kills += 1) {
    const before = journalled(out);
    const run = startScore([...args, '--out', out]);
    const gone = once(run, 'exit');
    const firstBatch = async (): Promise<void> => {
      while (journalled(out) === before && run.exitCode === null) {
        await sleep(5);
      }
    };
    if (kills % EARLY === EARLY - 1) {
      await Promise.race([sleep(Math.random() * startMs), firstBatch()]);
    } else {
      await firstBatch();
      // So much of what is left that the later kills meet work, too.
      await sleep((Math.random() * batchMs * (BATCHES - before)) / (KILLS - kills + 1));
    }
    run.kill('SIGKILL');
    await gone;
    done.push(journalled(out));
  }
  process.stderr.write(`Of ${BATCHES} batches there were at each kill: ${done.slice(1).join(', ')}\n`);
  // No kill met a run that had finished, and all but the early ones one that had got on.
  expect(Math.max(...done)).toBeLessThan(BATCHES);
  expect(new Set(done).size - 1).toBeGreaterThanOrEqual(KILLS - Math.floor(KILLS / EARLY));
  expect((await score([...args, '--out', out])).code).toBe(SOME_PHOTO_FAILED);
  expect(readFileSync(out, 'utf8')).toBe(readFileSync(at('unbroken.jsonl'), 'utf8'));
  expect(readFileSync(`${out}.errors.jsonl`, 'utf8')).toBe(readFileSync(at('unbroken.jsonl.errors.jsonl'), 'utf8'));
  expect(readRows(out)).toHaveLength(PHOTOS);
  expect(takeSidecars()).toEqual(expectedSidecars);
});
