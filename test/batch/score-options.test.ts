import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'csv-parse/sync';
import { pack } from 'tar-stream';
import { goldenImage } from '../golden';
import { CANNOT_RUN, readRows, score, SOME_PHOTO_FAILED } from './score-process';
import { temporaryFolder } from './temporary-folder';

const at = temporaryFolder();
const photos = (...names: string[]): string => at('photos', ...names);
const out = (): string => at('results.jsonl');

beforeEach(() => {
  mkdirSync(photos());
  ['exif-1.jpg', 'grey.png', 'exif-6.jpg'].forEach((name, n) => {
    writeFileSync(photos(`${'abc'[n]}.jpg`), goldenImage(name));
  });
});

const number = expect.any(Number) as number;
const text = expect.any(String) as string;
const sentence = { caption: text, score: number, log_probability: number };

test('every field comes when it is asked for, with as many alternatives as the search has', async () => {
  const fields = 'caption,score,log_probability,alternatives,regions,size,timings';
  expect((await score([photos('a.jpg'), '--out', out(), '--fields', fields, '--num-beams', '3'])).code).toBe(0);
  const [row] = readRows(out()) as { regions: { box: number[] }[]; width: number; height: number }[];
  expect(row).toEqual({
    image: photos('a.jpg'),
    ...sentence,
    alternatives: [sentence, sentence],
    width: 96,
    height: 72,
    regions: expect.any(Array) as object[],
    ms: number,
  });
  expect(row?.regions.length).toBeGreaterThan(0);
  for (const { box, ...region } of row?.regions ?? []) {
    const [x1 = -1, y1 = -1, x2 = -1, y2 = -1] = box;
    // Whole pixels of the upright photo.
    expect(box.every(Number.isInteger)).toBe(true);
    expect(0 <= x1 && x1 < x2 && x2 <= 96 && 0 <= y1 && y1 < y2 && y2 <= 72).toBe(true);
    expect(region).toMatchObject({ label: text, score: number });
  }
});

test('fewer fields are fewer, in CSV as well', async () => {
  await score([photos(), '--out', at('results.csv'), '--fields', 'caption']);
  const [head, ...rows] = parse(readFileSync(at('results.csv')));
  expect(head).toEqual(['image', 'id', 'question', 'caption', 'answer', 'answers', 'problem']);
  expect(rows.map(([image]) => image)).toEqual(['a.jpg', 'b.jpg', 'c.jpg'].map((name) => photos(name)));
});

test('unordered, a row is written when it is done', async () => {
  const first = readFileSync(photos('a.jpg'));
  const server = createServer((request, response) => {
    void buffer(request).then(async (body) => {
      response.setHeader('Content-Type', 'application/json');
      if (request.url === '/models') {
        response.end('{"models":[{"id":"tiny@1"}]}');
        return;
      }
      while (body.includes(first) && readRows(out()).length < 2) {
        await sleep(20);
      }
      response.end(JSON.stringify({ model: 'tiny@1', caption: 'a photo', score: 1, log_probability: 0 }));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { code } = await score([photos(), '--out', out(), '--url', url, '--batch-size', '1', '--unordered']);
  server.close();
  expect(code).toBe(0);
  expect(readRows(out()).map(({ image }) => image)).toEqual(['b.jpg', 'c.jpg', 'a.jpg'].map((name) => photos(name)));
});

test('a report has the scores of captions against the references of the input', async () => {
  const rows = ['a', 'b', 'c'].map((name) => ({ image: photos(`${name}.jpg`), references: ['a dog', `the ${name}`] }));
  writeFileSync(at('rows.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
  const args = [at('rows.jsonl'), '--out', out(), '--report', at('report')];
  expect((await score(args)).code).toBe(0);
  const [markdown, html] = ['md', 'html'].map((extension) => readFileSync(at(`report.${extension}`), 'utf8'));
  for (const report of [markdown, html]) {
    for (const words of ['3 items, 0 failed', 'CIDEr-D', 'BLEU-4', 'ROUGE-L', 'Best', 'Worst', 'a.jpg']) {
      expect(report).toContain(words);
    }
  }
  // Of a finished run it can be had, too.
  await score([...args.slice(0, -1), at('later')]);
  expect(readFileSync(at('later.md'), 'utf8')).toBe(markdown);
});

test('--overwrite replaces sidecars that say something else', async () => {
  writeFileSync(photos('a.jpg.txt'), 'my own');
  expect((await score([photos(), '--out', out(), '--sidecar', 'txt'])).code).toBe(CANNOT_RUN);
  expect(readFileSync(photos('a.jpg.txt'), 'utf8')).toBe('my own');
  expect((await score([photos(), '--out', out(), '--sidecar', 'txt', '--overwrite'])).code).toBe(0);
  for (const { image, caption } of readRows(out()) as { image: string; caption: string }[]) {
    expect(readFileSync(`${image}.txt`, 'utf8')).toBe(`${caption}\n`);
  }
});

test('no sidecar is written into an archive, and nothing is begun', async () => {
  const tar = pack();
  tar.entry({ name: '0001.jpg' }, goldenImage('exif-1.jpg'));
  tar.finalize();
  writeFileSync(at('shard.tar'), await buffer(tar));
  const { code, said } = await score([at('shard.tar'), '--out', out(), '--sidecar', 'txt']);
  const why = 'shard.tar/0001.jpg lies where no sidecar is written; leave --sidecar out.';
  expect([code, said]).toEqual([CANNOT_RUN, expect.stringContaining(why)]);
  expect(() => readFileSync(`${out()}.journal`)).toThrow('ENOENT');
});

test.each([
  ['jsonl', (image: string) => `{"image":"${image}","id":7,"question":"why?"}\n{"image":"${image}"}\n`],
  ['csv', (image: string) => `image,id,question\n${image},7,why?\n${image},,\n`],
])('standard input gives rows as %s', async (format, rows) => {
  const input = rows(photos('a.jpg'));
  expect((await score(['-', '--input-format', format, '--out', out()], { input })).code).toBe(0);
  expect(readRows(out())).toEqual([
    // A cell of a CSV is a text.
    {
      image: photos('a.jpg'),
      id: format === 'csv' ? '7' : 7,
      question: 'why?',
      answers: expect.any(Array) as object[],
    },
    { image: photos('a.jpg'), ...sentence },
  ]);
});

test.each<[string, object, readonly string[], string]>([
  ['a question in results of captions', { id: 1, question: 'why?' }, ['--format', 'coco'], 'have no question, unlike'],
  ['a caption in results of answers', { id: 1 }, ['--format', 'vqa'], 'have a question, unlike'],
  [
    'two questions with one id',
    { id: 1 },
    ['--format', 'vqa', '--question', 'why?', '--question', 'who?'],
    'has one twice',
  ],
])('%s is refused before anything is scored', async (_what, row, options, sentence) => {
  writeFileSync(at('rows.jsonl'), JSON.stringify({ image: photos('a.jpg'), ...row }));
  const { code, said } = await score([at('rows.jsonl'), '--out', out(), ...options]);
  expect([code, said]).toEqual([CANNOT_RUN, expect.stringContaining(sentence)]);
  expect(existsSync(out())).toBe(false);
});

test('a batch that is larger than a worker takes is refused', async () => {
  const { code, said } = await score([photos(), '--out', out(), '--batch-size', '257']);
  expect([code, said]).toEqual([CANNOT_RUN, expect.stringContaining('from 1 to 256')]);
});

test('a setting with a value that it may not have is a sentence', async () => {
  const { code, said } = await score([photos(), '--out', out()], { environment: { LOG_LEVEL: 'verbose' } });
  expect(said).toBe('error: LOG_LEVEL is "verbose", and must be one of debug, info, warn, error, silent.\n');
  expect(code).toBe(CANNOT_RUN);
});

test('DEVICE is obeyed, and a run that began on another is refused by name', async () => {
  // A GPU that no machine has, with onnxruntime's CUDA library or without.
  const environment = { DEVICE: 'cuda:99' };
  const first = await score([photos(), '--out', out()], { environment });
  expect([first.code, first.said]).toEqual([CANNOT_RUN, expect.stringContaining('The device cuda:99 cannot be used')]);
  const second = await score([photos(), '--out', out()], { environment: { DEVICE: 'cpu' } });
  expect([second.code, second.said]).toEqual([
    CANNOT_RUN,
    expect.stringContaining('begun with device "cuda:99", not none'),
  ]);
});

test('a photo that may not be read is a broken item', async () => {
  chmodSync(photos('b.jpg'), 0);
  expect((await score([photos(), '--out', out()], { obeysModes: true })).code).toBe(SOME_PHOTO_FAILED);
  expect(readRows(`${out()}.errors.jsonl`)).toEqual([
    {
      image: photos('b.jpg'),
      problem: {
        code: 'undecodable_image',
        detail: expect.stringMatching(/^The file cannot be read: EACCES: permission denied/) as string,
      },
    },
  ]);
  expect(readRows(out())).toHaveLength(3);
});

test.each<[string, string, readonly string[]]>([
  ['for results', 'results.jsonl', []],
  ['for sidecars', 'photos/a.jpg.txt', ['--sidecar', 'txt']],
])('a folder %s that is read-only is a sentence; what was done is kept', async (_what, file, more) => {
  await score([photos(), '--out', at('expected.jsonl')]);
  mkdirSync(at('results'));
  const folder = more.length > 0 ? photos() : at('results');
  const args = [photos(), '--out', at('results/results.jsonl'), '--json', ...more];
  chmodSync(folder, 0o555);
  const { code, said } = await score(args, { obeysModes: true });
  expect(said).toMatch(new RegExp(`error: EACCES: permission denied, open '.*${file}`));
  expect(said).not.toMatch(/^\s+at /m);
  expect(code).toBe(CANNOT_RUN);
  chmodSync(folder, 0o755);
  const { printed } = await score(args, { obeysModes: true });
  expect(JSON.parse(printed)).toMatchObject({ items: 3, scored: 3, resumed: more.length > 0 ? 3 : 0 });
  expect(readFileSync(at('results/results.jsonl'), 'utf8')).toBe(readFileSync(at('expected.jsonl'), 'utf8'));
});
