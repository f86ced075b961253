import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../golden';
import { TINY_BUNDLE } from '../tiny-bundle';

jest.setTimeout(60_000);

// The script as a user runs it, built by `npm run build`.
const SCRIPT = path.join(__dirname, '../../dist/batch/main.js');
const SOME_PHOTO_FAILED = 1;
const CANNOT_RUN = 2;

let folder: string;
let photos: string;
let out: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'score-'));
  photos = path.join(folder, 'photos');
  out = path.join(folder, 'results.jsonl');
  mkdirSync(path.join(photos, 'more'), { recursive: true });
  writeFileSync(path.join(photos, 'a.jpg'), goldenImage('exif-1.jpg'));
  writeFileSync(path.join(photos, 'broken.jpg'), goldenImage('exif-1.jpg').subarray(0, 1000));
  writeFileSync(path.join(photos, 'more/b.webp'), goldenImage('animated.webp'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function start(...args: string[]) {
  return spawn(process.execPath, [SCRIPT, ...args, '--bundle', TINY_BUNDLE], { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function score(...args: string[]): Promise<{ code: number; said: string }> {
  const run = start(...args);
  let said = '';
  run.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const [code] = (await once(run, 'close')) as [number];
  return { code, said };
}

function lines(file = out): Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const number = expect.any(Number) as number;

test('a folder becomes a line for each photo; a broken one becomes its problem and the exit code', async () => {
  const { code, said } = await score(photos, '--out', out);
  expect(code).toBe(SOME_PHOTO_FAILED);
  expect(said).toContain('3/3 photos, 1 failed');
  expect(lines()).toEqual([
    {
      image: path.join(photos, 'a.jpg'),
      caption: expect.stringMatching(/./) as string,
      score: number,
      log_probability: number,
    },
    {
      image: path.join(photos, 'broken.jpg'),
      problem: { code: 'undecodable_image', detail: 'The image is damaged or incomplete.' },
    },
    {
      image: path.join(photos, 'more/b.webp'),
      caption: expect.stringMatching(/./) as string,
      score: number,
      log_probability: number,
    },
  ]);
  const whole = readFileSync(out, 'utf8');
  // Again: nothing is left to do, and the failure still counts.
  expect((await score(photos, '--out', out)).code).toBe(SOME_PHOTO_FAILED);
  expect(readFileSync(out, 'utf8')).toBe(whole);
});

test('questions become a line for each photo and question', async () => {
  const list = path.join(folder, 'list.txt');
  const [photo, missing] = [path.join(photos, 'a.jpg'), path.join(photos, 'missing.jpg')];
  writeFileSync(list, `${photo}\n${missing}\n`);
  const { code } = await score(list, '--out', out, '--question', 'what colour?', '--question', 'how many?');
  expect(code).toBe(SOME_PHOTO_FAILED);
  const answers = Array<object>(5).fill({ answer: expect.any(String) as string, score: number });
  const problem = { code: 'undecodable_image', detail: expect.stringContaining('ENOENT') as string };
  expect(lines()).toEqual([
    { image: photo, question: 'what colour?', answers },
    { image: photo, question: 'how many?', answers },
    { image: missing, question: 'what colour?', problem },
    { image: missing, question: 'how many?', problem },
  ]);
});

test('a run that is killed goes on where it stopped and ends as one that was not', async () => {
  rmSync(path.join(photos, 'broken.jpg'));
  for (let n = 0; n < 40; n += 1) {
    cpSync(path.join(photos, n % 2 ? 'a.jpg' : 'more/b.webp'), path.join(photos, `copy-${n}.jpg`));
  }
  const unbroken = path.join(folder, 'unbroken.jsonl');
  expect((await score(photos, '--out', unbroken)).code).toBe(0);

  const killed = start(photos, '--out', out);
  const gone = once(killed, 'close');
  while (!wroteALine()) {
    await sleep(1);
  }
  killed.kill('SIGKILL');
  await gone;

  expect((await score(photos, '--out', out)).code).toBe(0);
  expect(lines().map(({ image, caption }) => [image, caption])).toEqual(
    lines(unbroken).map(({ image, caption }) => [image, caption]),
  );
});

function wroteALine(): boolean {
  try {
    return readFileSync(out, 'utf8').includes('\n');
  } catch {
    return false;
  }
}

test.each<[string, string[], RegExp]>([
  ['an input that is not there', ['nowhere', '--out', 'x'], /error: .*ENOENT.*nowhere/],
  ['beams that are no number', ['.', '--out', 'x', '--num-beams', '-1'], /Expected a whole number from 1/],
  [
    'more beams than the bundle allows',
    ['.', '--out', 'x', '--num-beams', '9'],
    /Expected --num-beams of at most 8 but received 9/,
  ],
  ['no output', ['.'], /required option '--out <file>' not specified/],
])('%s is a sentence and another exit code', async (_what, args, sentence) => {
  const { code, said } = await score(...args);
  expect(said).toMatch(sentence);
  expect(code).toBe(CANNOT_RUN);
});
