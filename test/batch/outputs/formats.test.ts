import { parse } from 'csv-parse/sync';
import { DEFAULT_FIELDS, FIELDS, type Format, formatNamed } from '../../../src/batch/outputs/formats';
import type { Row } from '../../../src/batch/item';

const CAPTIONED: Row = {
  image: 'a.jpg',
  id: 3,
  references: ['never shown'],
  caption: 'a dog',
  score: 0.5,
  log_probability: -2.25,
  alternatives: [{ caption: 'a cat', score: 0.25, log_probability: -3 }],
  width: 12,
  height: 8,
  ms: 7,
};
const ANSWERED: Row = { image: 'a.jpg', id: 4, question: 'what?', answers: [{ answer: 'dog', score: 0.5 }] };
const BROKEN: Row = { image: 'b.jpg', id: 5, problem: { code: 'undecodable_image', detail: 'It is damaged.' } };
const SKIPPED: Row = { image: 'c.jpg', id: 6, skipped: true };
const ROWS = [CAPTIONED, BROKEN, SKIPPED, ANSWERED];

function write({ head, format, separator, tail }: Format, rows: readonly Row[]): string {
  return head + rows.flatMap((row) => format(row) ?? []).join(separator) + tail;
}

test('JSON lines hold what was asked for, and no timings', () => {
  expect(write(formatNamed('jsonl', DEFAULT_FIELDS), ROWS)).toBe(
    [
      '{"image":"a.jpg","id":3,"caption":"a dog","score":0.5,"log_probability":-2.25}',
      '{"image":"b.jpg","id":5,"problem":{"code":"undecodable_image","detail":"It is damaged."}}',
      '{"image":"a.jpg","id":4,"question":"what?","answers":[{"answer":"dog","score":0.5}]}',
      '',
    ].join('\n'),
  );
});

test('every field on request', () => {
  const [line = ''] = write(formatNamed('jsonl', FIELDS), [CAPTIONED]).split('\n');
  expect(JSON.parse(line)).toEqual({ ...CAPTIONED, references: undefined });
});

test("COCO's and VQA's results are what their evaluations read", () => {
  expect(JSON.parse(write(formatNamed('coco', DEFAULT_FIELDS), ROWS))).toEqual([{ image_id: 3, caption: 'a dog' }]);
  expect(JSON.parse(write(formatNamed('vqa', DEFAULT_FIELDS), ROWS))).toEqual([{ question_id: 4, answer: 'dog' }]);
  expect(JSON.parse(write(formatNamed('coco', DEFAULT_FIELDS), []))).toEqual([]);
});

test('CSV keeps names whole, and no name becomes a formula', () => {
  const names = [
    '=HYPERLINK("http://x","y").jpg',
    '+1.jpg',
    '-1.jpg',
    '@x.jpg',
    '\t.jpg',
    'two\nlines, "quoted" 🐕.jpg',
  ];
  const rows = names.map((image) => ({ ...CAPTIONED, image }));
  const [, ...read] = parse(write(formatNamed('csv', DEFAULT_FIELDS), rows));
  expect(read.map(([image]) => image)).toEqual([...names.slice(0, -1).map((name) => `'${name}`), names.at(-1)]);
  expect(read[0]?.slice(1)).toEqual(['3', '', 'a dog', '0.5', '-2.25', '', '', '']);
});

test('CSV has the best answer in a column of its own, and problems', () => {
  const text = write(formatNamed('csv', DEFAULT_FIELDS), ROWS);
  const read = parse(text, { columns: true }) as unknown as Record<string, string>[];
  expect(read).toHaveLength(3);
  expect(read[1]).toMatchObject({ image: 'b.jpg', caption: '', problem: 'undecodable_image: It is damaged.' });
  expect(read[2]).toMatchObject({ answer: 'dog', score: '0.5', answers: '[{"answer":"dog","score":0.5}]' });
});
