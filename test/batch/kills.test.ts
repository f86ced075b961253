import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../golden';
import { readRows, score, SOME_PHOTO_FAILED, startScore } from './score-process';
import { temporaryFolder } from './temporary-folder';

/** Small here; at full size by `bench/score-kills.sh`. */
const PHOTOS = Number(process.env['SCORE_PHOTOS'] ?? 60);
const KILLS = Number(process.env['SCORE_KILLS'] ?? 5);

jest.setTimeout(120_000 + PHOTOS * 2_000 + KILLS * 60_000);

const at = temporaryFolder();
const NAMES = ['exif-1.jpg', 'animated.webp', 'grey.png', 'exif-6.jpg', 'transparent.png', 'cmyk.jpg', 'large.jpg'];

test(`${PHOTOS} photos and ${KILLS} kills at any moment: the bytes of an unbroken run`, async () => {
  mkdirSync(at('photos'));
  for (let n = 0; n < PHOTOS; n += 1) {
    const photo = goldenImage(NAMES[n % NAMES.length] ?? '');
    const name = `photos/${String(n).padStart(5, '0')}.jpg`;
    writeFileSync(at(name), n % 17 === 5 ? photo.subarray(0, 1_000) : photo);
  }
  const args = [at('photos'), '--batch-size', '4', '--workers', '2', '--sidecar', 'txt'];
  const startedMs = performance.now();
  expect((await score([...args, '--out', at('unbroken.jsonl')])).code).toBe(SOME_PHOTO_FAILED);
  const unbrokenMs = performance.now() - startedMs;

  const out = at('out.jsonl');
  for (let kills = 0; kills < KILLS; kills += 1) {
    const run = startScore([...args, '--out', out]);
    const gone = once(run, 'exit');
    // Each kill leaves less to do: from before the first photo to about where what is left ends.
    await Promise.race([sleep(Math.random() * unbrokenMs * (1 - kills / (2 * KILLS))), gone]);
    run.kill('SIGKILL');
    await gone;
  }
  expect((await score([...args, '--out', out])).code).toBe(SOME_PHOTO_FAILED);
  expect(readFileSync(out, 'utf8')).toBe(readFileSync(at('unbroken.jsonl'), 'utf8'));
  expect(readFileSync(`${out}.errors.jsonl`, 'utf8')).toBe(readFileSync(at('unbroken.jsonl.errors.jsonl'), 'utf8'));
  expect(readRows(out)).toHaveLength(PHOTOS);
});
