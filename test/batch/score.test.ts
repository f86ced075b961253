import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../golden';
import { CANNOT_RUN, readRows, score, SOME_PHOTO_FAILED, startScore } from './score-process';
import { temporaryFolder } from './temporary-folder';

const at = temporaryFolder();
const photos = (...names: string[]): string => at('photos', ...names);
const out = (): string => at('results.jsonl');

beforeEach(() => {
  mkdirSync(photos('more'), { recursive: true });
  writeFileSync(photos('a.jpg'), goldenImage('exif-1.jpg'));
  writeFileSync(photos('broken.jpg'), goldenImage('exif-1.jpg').subarray(0, 1000));
  writeFileSync(photos('more/b.webp'), goldenImage('animated.webp'));
});

const number = expect.any(Number) as number;
const text = expect.stringMatching(/./) as string;

test('a folder becomes a line for each photo; a broken one becomes its problem and the exit code', async () => {
  const { code, said, printed } = await score([photos(), '--out', out(), '--json']);
  expect(code).toBe(SOME_PHOTO_FAILED);
  expect(said).toContain('3/3 photos, 1 failed');
  const problem = { code: 'undecodable_image', detail: 'The image is damaged or incomplete.' };
  expect(readRows(out())).toEqual([
    { image: photos('a.jpg'), caption: text, score: number, log_probability: number },
    { image: photos('broken.jpg'), problem },
    { image: photos('more/b.webp'), caption: text, score: number, log_probability: number },
  ]);
  expect(readRows(`${out()}.errors.jsonl`)).toEqual([{ image: photos('broken.jpg'), problem }]);
  expect(JSON.parse(printed)).toMatchObject({ items: 3, scored: 2, failed: 1, resumed: 0, mean_score: number });

  // Again: nothing is left to do, the failure still counts, and no file is touched.
  const before = ['', '.journal'].map((name) => statSync(out() + name).mtimeMs);
  const again = await score([photos(), '--out', out(), '--json']);
  expect(again.code).toBe(SOME_PHOTO_FAILED);
  expect(JSON.parse(again.printed)).toMatchObject({ items: 3, scored: 2, failed: 1, resumed: 3 });
  expect(['', '.journal'].map((name) => statSync(out() + name).mtimeMs)).toEqual(before);
});

test('questions become a line for each photo and question', async () => {
  const list = at('list.txt');
  const [photo, missing] = [photos('a.jpg'), photos('missing.jpg')];
  writeFileSync(list, `${photo}\n${missing}\n`);
  const { code } = await score([list, '--out', out(), '--question', 'what colour?', '--question', 'how many?']);
  expect(code).toBe(SOME_PHOTO_FAILED);
  const answers = Array<object>(5).fill({ answer: expect.any(String) as string, score: number });
  const problem = { code: 'undecodable_image', detail: expect.stringContaining('ENOENT') as string };
  expect(readRows(out())).toEqual([
    { image: photo, question: 'what colour?', answers },
    { image: photo, question: 'how many?', answers },
    { image: missing, question: 'what colour?', problem },
    { image: missing, question: 'how many?', problem },
  ]);
});

test('broken items are tried again when asked, and the output is as if they had never been broken', async () => {
  expect((await score([photos(), '--out', out(), '--batch-size', '2'])).code).toBe(SOME_PHOTO_FAILED);
  const [first] = readRows(out());
  writeFileSync(photos('broken.jpg'), goldenImage('exif-6.jpg'));
  expect((await score([photos(), '--out', out(), '--batch-size', '2'])).code).toBe(SOME_PHOTO_FAILED);
  expect((await score([photos(), '--out', out(), '--batch-size', '2', '--retry-failed'])).code).toBe(0);
  expect(readRows(out())[0]).toEqual(first);
  expect(existsSync(`${out()}.errors.jsonl`)).toBe(false);
  await score([photos(), '--out', at('fresh.jsonl'), '--batch-size', '2']);
  expect(readFileSync(out(), 'utf8')).toBe(readFileSync(at('fresh.jsonl'), 'utf8'));
});

test('shards merged are the bytes of the whole; one that is missing or another run is refused', async () => {
  for (let n = 0; n < 7; n += 1) {
    cpSync(photos(n % 2 ? 'a.jpg' : 'more/b.webp'), photos(`copy-${n}.jpg`));
  }
  const run = (name: string, ...args: string[]): Promise<unknown> =>
    score([photos(), '--out', at(name), '--batch-size', '2', ...args]);
  await run('whole.jsonl');
  await run('0.jsonl', '--shard', '0/2');
  await run('1.jsonl', '--shard', '1/2');
  await run('other.jsonl', '--shard', '1/2', '--num-beams', '1');
  expect(readRows(at('0.jsonl')).length + readRows(at('1.jsonl')).length).toBe(10);

  // As a shell fills in ?.jsonl*, in whichever order.
  const parts = readdirSync(at()).filter((name) => /^\d\.jsonl(?:\.errors\.jsonl)?$/.test(name));
  expect(parts).toHaveLength(3);
  const merged = await score(['merge', ...parts.reverse().map((name) => at(name)), '--out', at('merged.jsonl')]);
  expect(merged.code).toBe(SOME_PHOTO_FAILED);
  for (const name of ['', '.errors.jsonl']) {
    expect(readFileSync(at(`merged.jsonl${name}`), 'utf8')).toBe(readFileSync(at(`whole.jsonl${name}`), 'utf8'));
  }
  // What was put together is a finished run without shards.
  const journal = readFileSync(at('merged.jsonl.journal'), 'utf8');
  const again = await score([photos(), '--out', at('merged.jsonl'), '--batch-size', '2', '--json']);
  expect(JSON.parse(again.printed)).toMatchObject({ items: 10, resumed: 10 });
  expect(readFileSync(at('merged.jsonl.journal'), 'utf8')).toBe(journal);

  const refused = async (...outputs: string[]): Promise<string> =>
    (await score(['merge', ...outputs.map((output) => at(output)), '--out', at('no.jsonl')])).said;
  expect(await refused('0.jsonl')).toContain('Expected each of 2 shards once; missing: 1.');
  expect(await refused('0.jsonl', '0.jsonl')).toContain('missing: 1.');
  expect(await refused('0.jsonl', 'other.jsonl')).toMatch(/other\.jsonl is of another run than .*num_beams/);
  expect(await refused('0.jsonl', 'nothing.jsonl')).toContain('is not there');
});

test('a shard that was mended is in what is merged anew, and in what goes on from there', async () => {
  const run = (name: string, ...args: string[]): Promise<{ code: number | null }> =>
    score([photos(), '--out', at(name), '--batch-size', '1', ...args]);
  const merge = (): Promise<{ code: number | null }> =>
    score(['merge', at('0.jsonl'), at('1.jsonl'), '--out', at('merged.jsonl')]);
  await run('0.jsonl', '--shard', '0/2');
  await run('1.jsonl', '--shard', '1/2');
  expect((await merge()).code).toBe(SOME_PHOTO_FAILED);
  writeFileSync(photos('broken.jpg'), goldenImage('exif-6.jpg'));
  await run('1.jsonl', '--shard', '1/2', '--retry-failed');
  expect((await merge()).code).toBe(0);
  const merged = readFileSync(at('merged.jsonl'), 'utf8');
  expect((await run('merged.jsonl')).code).toBe(0);
  expect(readFileSync(at('merged.jsonl'), 'utf8')).toBe(merged);
});

test('a run with another question, model or input is refused by name, and --restart begins anew', async () => {
  await score([photos(), '--out', out()]);
  const before = readFileSync(out(), 'utf8');
  for (const [args, name] of [
    [[photos(), '--num-beams', '1'], 'num_beams'],
    [[photos(), '--question', 'why?'], 'input'],
    [[photos('more')], 'input'],
    [[photos(), '--limit', '2'], 'input'],
  ] as const) {
    const { code, said } = await score([...args, '--out', out()]);
    expect([code, said]).toEqual([CANNOT_RUN, expect.stringContaining(`The output was begun with ${name} `)]);
  }
  expect(readFileSync(out(), 'utf8')).toBe(before);
  await score([photos(), '--limit', '1', '--restart', '--out', out()]);
  expect(readRows(out())).toHaveLength(1);
});

test('one run writes an output at a time', async () => {
  const first = startScore([photos(), '--out', out()]);
  while (!existsSync(`${out()}.journal`)) {
    await sleep(5);
  }
  writeFileSync(`${out()}.stdin`, 'what the first may have been given');
  for (const input of [photos(), '-']) {
    const { code, said } = await score([input, '--out', out()]);
    expect([code, said]).toEqual([CANNOT_RUN, expect.stringContaining('Another run is writing')]);
  }
  expect(readFileSync(`${out()}.stdin`, 'utf8')).toBe('what the first may have been given');
  first.kill('SIGKILL');
});

test('a run that is told to end ends, holds nothing any more and goes on when it is started again', async () => {
  const first = startScore([photos(), '--out', out()]);
  while (!existsSync(`${out()}.journal`)) {
    await sleep(5);
  }
  first.kill('SIGTERM');
  const [code] = (await once(first, 'exit')) as [number | null];
  expect(code).toBe(128 + 15);
  expect(existsSync(`${out()}.lock`)).toBe(false);
  expect((await score([photos(), '--out', out()])).code).toBe(SOME_PHOTO_FAILED);
});

test('sidecars hold the captions; somebody else stays; a later run leaves out photos that have one', async () => {
  writeFileSync(photos('more/b.webp.xmp'), 'my own');
  const first = await score([photos(), '--out', out(), '--sidecar', 'xmp']);
  expect([first.code, first.said]).toEqual([CANNOT_RUN, expect.stringContaining('1 files are there already')]);
  const [row] = readRows(out()) as { caption: string }[];
  expect(readFileSync(photos('a.jpg.xmp'), 'utf8')).toContain(`<rdf:li xml:lang="x-default">${row?.caption}</rdf:li>`);
  expect(readFileSync(photos('more/b.webp.xmp'), 'utf8')).toBe('my own');
  expect(existsSync(photos('broken.jpg.xmp'))).toBe(false);

  writeFileSync(photos('c.jpg'), goldenImage('exif-6.jpg'));
  const args = [photos(), '--out', at('new.jsonl'), '--sidecar', 'xmp', '--skip-existing', '--json'];
  expect(JSON.parse((await score(args)).printed)).toMatchObject({ items: 4, scored: 1, failed: 1, skipped: 2 });
  expect(readRows(at('new.jsonl')).map(({ image }) => image)).toEqual([photos('broken.jpg'), photos('c.jpg')]);
});

test('of a batch that is tried again, what was scored has left sidecars of its own and is not taken for done', async () => {
  writeFileSync(photos('more/b.webp.txt'), 'my own\n');
  const args = [photos(), '--out', out(), '--sidecar', 'txt', '--skip-existing', '--json'];
  expect(JSON.parse((await score(args)).printed)).toMatchObject({ items: 3, scored: 1, failed: 1, skipped: 1 });
  writeFileSync(photos('broken.jpg'), goldenImage('exif-6.jpg'));
  const again = await score([...args, '--retry-failed']);
  expect(JSON.parse(again.printed)).toMatchObject({ items: 3, scored: 2, failed: 0, skipped: 1 });
  const rows = readRows(out()) as { image: string; caption: string }[];
  expect(rows.map(({ image }) => image)).toEqual([photos('a.jpg'), photos('broken.jpg')]);
  for (const { image, caption } of rows) {
    expect(readFileSync(`${image}.txt`, 'utf8')).toBe(`${caption}\n`);
  }
  expect(readFileSync(photos('more/b.webp.txt'), 'utf8')).toBe('my own\n');
});

test('photos that an input names twice are both scored beside sidecars of the same run, killed or not', async () => {
  writeFileSync(photos('more/b.webp.txt'), 'from before\n');
  const list = ['a.jpg', 'more/b.webp', ...Array<string>(10).fill('a.jpg'), 'more/b.webp'].map((name) => photos(name));
  writeFileSync(at('list.txt'), list.join('\n'));
  const args = [at('list.txt'), '--sidecar', 'txt', '--skip-existing', '--batch-size', '1', '--workers', '1'];
  expect((await score([...args, '--out', out()])).code).toBe(0);
  expect(readRows(out())).toHaveLength(11);

  // The same when it goes on with the sidecar there.
  const journal = readFileSync(`${out()}.journal`, 'utf8').split('\n');
  writeFileSync(`${out()}.journal`, `${journal.slice(0, 3).join('\n')}\n`);
  const whole = readFileSync(out(), 'utf8');
  expect((await score([...args, '--out', out()])).code).toBe(0);
  expect(readFileSync(out(), 'utf8')).toBe(whole);

  const restarted = await score([...args, '--out', out(), '--restart', '--json']);
  expect(JSON.parse(restarted.printed)).toMatchObject({ items: 13, scored: 0, skipped: 13 });
});

test('standard input gives a list, with NUL for names that hold line breaks', async () => {
  cpSync(photos('a.jpg'), photos('two\nlines "🐕" =1+1.jpg'));
  const input = `${photos('two\nlines "🐕" =1+1.jpg')}\0${photos('a.jpg')}\0`;
  expect((await score(['-', '-0', '--out', out()], { input })).code).toBe(0);
  const [named, plain] = readRows(out());
  expect(named).toEqual({ ...plain, image: photos('two\nlines "🐕" =1+1.jpg') });
  expect(existsSync(`${out()}.stdin`)).toBe(false);
});

test('files that cannot be photos are broken items, each with its reason', async () => {
  writeFileSync(photos('empty.jpg'), '');
  symlinkSync('circle.jpg', photos('circle.jpg'));
  mkdirSync(photos('folder.jpg'));
  symlinkSync('folder.jpg', photos('link-to-folder.jpg'));
  symlinkSync('/dev/zero', photos('endless.jpg'));
  expect((await score([photos(), '--out', out()])).code).toBe(SOME_PHOTO_FAILED);
  const details = readRows(`${out()}.errors.jsonl`) as { image: string; problem: { detail: string } }[];
  expect(details.map(({ image, problem }) => [path.basename(image), problem.detail])).toEqual([
    ['broken.jpg', 'The image is damaged or incomplete.'],
    ['circle.jpg', expect.stringContaining('ELOOP')],
    ['empty.jpg', 'The image is empty.'],
    ['endless.jpg', 'The file cannot be read: it is no file.'],
    ['link-to-folder.jpg', 'The file cannot be read: it is no file.'],
  ]);
});

test('a full disk is a sentence, and what was done is kept', async () => {
  await score([photos(), '--out', at('expected.jsonl')]);
  symlinkSync('/dev/full', out());
  const { code, said } = await score([photos(), '--out', out()]);
  expect([code, said]).toEqual([CANNOT_RUN, expect.stringMatching(/error: ENOSPC: no space left on device/)]);
  rmSync(out());
  const again = await score([photos(), '--out', out(), '--json']);
  expect(JSON.parse(again.printed)).toMatchObject({ items: 3, resumed: 3 });
  expect(readFileSync(out(), 'utf8')).toBe(readFileSync(at('expected.jsonl'), 'utf8'));
});

test.each<[string, () => string[], RegExp]>([
  ['an input that is not there', () => ['nowhere', '--out', out()], /error: .*ENOENT.*nowhere/],
  ['a folder for the output that is not there', () => ['.', '--out', at('no/x')], /error: .*ENOENT.*no/],
  ['an output that cannot be written', () => ['.', '--out', '/proc/x'], /error: (?:EACCES|ENOENT|EPERM).*\/proc\/x/],
  ['an output with content of its own', () => [photos(), '--out', photos('a.jpg')], /has content but no journal/],
  ['beams that are no number', () => ['.', '--out', out(), '--num-beams', '-1'], /Expected a whole number from 1/],
  [
    'more beams than the bundle allows',
    () => ['.', '--out', out(), '--num-beams', '9'],
    /Expected --num-beams of at most 8 but received 9/,
  ],
  ['a shard beyond the last', () => ['.', '--out', out(), '--shard', '2/2'], /Expected i\/n with i from 0 to n - 1/],
  ['a field that is none', () => ['.', '--out', out(), '--fields', 'caption,mood'], /There is no field "mood"/],
  ['results that go by id, without ids', () => [photos(), '--out', out(), '--format', 'coco'], /a\.jpg has none/],
  ['no output', () => ['.'], /required option '--out <file>' not specified/],
])('%s is a sentence and another exit code', async (_what, args, sentence) => {
  const { code, said } = await score(args());
  expect(said).toMatch(sentence);
  expect(said).not.toMatch(/^\s+at /m);
  expect(code).toBe(CANNOT_RUN);
});
