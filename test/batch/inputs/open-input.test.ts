import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pack } from 'tar-stream';
import { buffer } from 'node:stream/consumers';
import type { InputOptions } from '../../../src/batch/inputs/input';
import { openInput } from '../../../src/batch/inputs/open-input';
import { ObjectStore } from '../../../src/batch/inputs/s3';
import { asSurveyed, survey } from '../../../src/batch/inputs/survey';
import type { InputItem } from '../../../src/batch/item';
import { collect } from '../collect';
import { temporaryFolder } from '../temporary-folder';

const at = temporaryFolder();
const store = new ObjectStore({ pathStyle: false, maxAttempts: 1 });

function write(name: string, content: string | object = ''): string {
  mkdirSync(path.dirname(at(name)), { recursive: true });
  writeFileSync(at(name), typeof content === 'string' ? content : JSON.stringify(content));
  return at(name);
}

async function itemsOf(names: string | string[], options: Partial<InputOptions> = {}): Promise<InputItem[]> {
  const input = await openInput([names].flat(), { spool: at('spool'), store, ...options });
  const items = await collect(input.items());
  // A run goes through them twice.
  expect(await collect(input.items())).toEqual(items);
  return items;
}

async function imagesOf(names: string | string[], options: Partial<InputOptions> = {}): Promise<string[]> {
  return (await itemsOf(names, options)).map(({ image }) => path.relative(at('photos'), image));
}

describe('a folder', () => {
  const FILES = [
    'z.JPG',
    'b/2.png',
    'b/10.webp',
    'b.jpg',
    'b-1.jpg',
    'a.jpeg',
    'notes.txt',
    'a.jpg.bak',
    'phone.heic',
    'dünn 狗.avif',
    'two\nlines "🐕" =1+1.jpg',
    '.DS_Store',
  ];

  beforeEach(() => {
    FILES.forEach((file) => write(`photos/${file}`));
  });

  test('gives its photos, those of subfolders included, sorted by path', async () => {
    const expected = FILES.filter((file) => !['notes.txt', 'a.jpg.bak', '.DS_Store'].includes(file)).sort();
    expect(expected).toHaveLength(9);
    await expect(imagesOf(at('photos'))).resolves.toEqual(expected);
  });

  test('with links that lead in circles has an end', async () => {
    symlinkSync(at('photos'), at('photos/loop'));
    symlinkSync('circle.jpg', at('photos/circle.jpg'));
    await expect(imagesOf(at('photos'))).resolves.toHaveLength(10);
  });

  test('and a pattern, and a photo, one after the other', async () => {
    await expect(imagesOf([at('photos/**/*.{png,webp}'), at('photos/a.jpeg')])).resolves.toEqual([
      'b/10.webp',
      'b/2.png',
      'a.jpeg',
    ]);
  });
});

test('a list gives each line, whatever its ending; repeated ones are repeated', async () => {
  const list = write('list.txt', 'b.jpg\r\nno-ending\n\na b.png\nb.jpg');
  await expect(itemsOf(list)).resolves.toEqual(['b.jpg', 'no-ending', 'a b.png', 'b.jpg'].map((image) => ({ image })));
});

test('the byte order mark with which some editors begin a file is no part of it', async () => {
  const coco = { images: [{ id: 1, file_name: 'a.jpg' }] };
  await expect(itemsOf(write('list.txt', '\ufeffa.jpg\n'))).resolves.toEqual([{ image: 'a.jpg' }]);
  await expect(itemsOf(write('rows.jsonl', '\ufeff{"image":"a.jpg"}\n'))).resolves.toEqual([{ image: 'a.jpg' }]);
  const [photo] = await itemsOf(write('coco.json', `\ufeff${JSON.stringify(coco)}`));
  expect(photo).toEqual({ image: at('a.jpg'), id: 1 });
});

test('a list with NUL holds names with line breaks', async () => {
  const list = write('list', 'two\nlines.jpg\0b\u2028.jpg\0');
  await expect(itemsOf(list, { format: 'list0' })).resolves.toEqual([
    { image: 'two\nlines.jpg' },
    { image: 'b\u2028.jpg' },
  ]);
});

test('rows of JSON and of CSV give the same items, below the folder of images', async () => {
  const jsonl = write(
    'rows.jsonl',
    `{"image":"a.jpg","question":"what, \\"this\\"?","id":"7"}\n\n{"image":"/b\u2028.jpg"}\n{"image":"s3://x/c.jpg"}\n`,
  );
  const csv = write(
    'rows.csv',
    '\ufeffid,image,question\r\n7,a.jpg,"what, ""this""?"\r\n,/b\u2028.jpg,\r\n,s3://x/c.jpg,\r\n',
  );
  const expected = [
    { image: '/i/a.jpg', question: 'what, "this"?', id: '7' },
    { image: '/b\u2028.jpg' },
    { image: 's3://x/c.jpg' },
  ];
  await expect(itemsOf(jsonl, { images: '/i' })).resolves.toEqual(expected);
  await expect(itemsOf(csv, { images: '/i' })).resolves.toEqual(expected);
  const inBucket = await itemsOf(csv, { images: 's3://bucket/i' });
  expect(inBucket[0]?.image).toBe('s3://bucket/i/a.jpg');
});

test('COCO gives its photos with their captions as references', async () => {
  const coco = write('coco.json', {
    images: [
      { id: 2, file_name: 'b.jpg' },
      { id: 1, file_name: 'a.jpg' },
    ],
    annotations: [
      { image_id: 1, caption: 'one' },
      { image_id: 1, caption: 'two' },
    ],
  });
  expect((await itemsOf(coco, { images: 's3://bucket/' }))[0]?.image).toBe('s3://bucket/b.jpg');
  await expect(itemsOf(coco)).resolves.toEqual([
    { image: at('b.jpg'), id: 2 },
    { image: at('a.jpg'), id: 1, references: ['one', 'two'] },
  ]);
});

test("VQA v2 gives its questions on COCO's files, with people's answers where given", async () => {
  const questions = write('questions.json', {
    data_subtype: 'val2014',
    questions: [
      { image_id: 42, question: 'how many?', question_id: 420 },
      { image_id: 42, question: 'why?', question_id: 421 },
    ],
  });
  const answers = write('annotations.json', {
    annotations: [{ question_id: 421, answer_type: 'other', answers: [{ answer: 'rain' }, { answer: 'sun' }] }],
  });
  const image = '/coco/COCO_val2014_000000000042.jpg';
  await expect(itemsOf(questions, { images: '/coco', answers })).resolves.toEqual([
    { image, question: 'how many?', id: 420 },
    { image, question: 'why?', id: 421, reference_answers: ['rain', 'sun'], answer_type: 'other' },
  ]);
});

async function writeShard(name: string, files: readonly (readonly [string, string])[]): Promise<void> {
  const tar = pack();
  files.forEach(([file, content]) => tar.entry({ name: file }, content));
  tar.entry({ name: './folder', type: 'directory' });
  tar.finalize();
  write(name, '');
  writeFileSync(at(name), await buffer(tar));
}

test('a WebDataset shard gives its photos with their captions, and its questions', async () => {
  await writeShard('shard.tar', [
    ['./0001.jpg', 'photo one'],
    ['./0001.mp4', 'a film'],
    ['./0001.txt', 'a dog\n'],
    ['./0002.json', JSON.stringify({ question: 'why?' })],
    ['./0002.png', 'photo two'],
  ]);
  const items = await itemsOf(at('shard.tar'));
  expect(items.map(({ bytes, ...item }) => ({ ...item, bytes: Buffer.from(bytes ?? []).toString() }))).toEqual([
    { image: `${at('shard.tar')}/./0001.jpg`, id: './0001', references: ['a dog'], bytes: 'photo one' },
    { image: `${at('shard.tar')}/./0002.png`, id: './0002', question: 'why?', bytes: 'photo two' },
  ]);
});

test('shards are found by their numbers and by a pattern', async () => {
  for (const name of ['s-08.tar', 's-09.tar', 's-10.tar', 'other.tar']) {
    await writeShard(`photos/${name}`, [['a.jpg', name]]);
  }
  await expect(imagesOf(at('photos/s-{08..10}.tar'))).resolves.toEqual(
    ['s-08.tar', 's-09.tar', 's-10.tar'].map((shard) => `${shard}/a.jpg`),
  );
  await expect(imagesOf(at('photos/{s-1*,other}.tar'))).resolves.toEqual(['s-10.tar/a.jpg', 'other.tar/a.jpg']);
  await expect(imagesOf(at('photos/s-{10..11}.tar'))).rejects.toThrow(/ENOENT.*s-11\.tar/);
});

test.each<[string, string, RegExp]>([
  ['broken.jsonl', '{"image":"a.jpg"}\n{"image"\n', /^Line 2 of .*broken\.jsonl is not JSON: /],
  ['nameless.jsonl', '{"file":"a.jpg"}\n', /^Line 1 of .*: expected "image" with the path of a photo\.$/],
  ['number.jsonl', '{"image":"a.jpg","question":7}\n', /expected "question" to be a text/],
  ['null.jsonl', 'null\n', /expected "image"/],
  ['ragged.csv', 'image,question\na.jpg\n', /ragged\.csv: /],
  ['other.json', '{"rows":[]}', /expected the "images" of COCO or the "questions" of VQA v2/],
  ['half.json', '{"images":', /half\.json is not JSON: /],
  ['short.tar', 'not an archive, but long enough to be looked at'.repeat(20), /short\.tar: /],
])('%s is a sentence', async (name, content, sentence) => {
  await expect(itemsOf(write(name, content))).rejects.toThrow(sentence);
});

test.each(['rows.csv', 'rows.jsonl', 'list.txt', 'photos.tar'])(
  '%s that cannot be read any more is an error',
  async (name) => {
    const input = await openInput([write(name, 'image\n')], { spool: at('spool'), store });
    rmSync(at(name));
    await expect(collect(input.items())).rejects.toThrow('ENOENT');
  },
);

test('items that are others in a second pass are told at its end', async () => {
  const items = ['a.jpg', 'b.jpg'].map((image) => ({ image }));
  const pass = (from: number) => Readable.from(items.slice(from)) as AsyncIterable<InputItem>;
  const known = await survey(pass(0));
  await expect(collect(asSurveyed(pass(0), known))).resolves.toEqual(items);
  await expect(collect(asSurveyed(pass(1), known))).rejects.toThrow('The input has changed');
});

test('an input that is not there is an error, and so is a pattern that nothing matches', async () => {
  await expect(itemsOf(at('nothing'))).rejects.toThrow('ENOENT');
  await expect(itemsOf(at('*.jpg'))).rejects.toThrow(/^Nothing matches .*\*\.jpg\.$/);
  await expect(itemsOf(at('*.tar'))).rejects.toThrow(/^Nothing matches .*\*\.tar\.$/);
});
