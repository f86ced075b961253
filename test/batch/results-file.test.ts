import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ResultsFile } from '../../src/batch/results-file';

const PHOTOS = ['a.jpg', 'b.jpg', 'c.jpg'];
const SETTINGS = { bundle: '12ab', questions: [], num_beams: 5 };
const PROBLEM = { code: 'undecodable_image', detail: 'The image is damaged.' };

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'results-'));
  file = path.join(folder, 'results.jsonl');
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Writes lines as a run would that ends after them. */
async function runThatWrote(...lines: { image: string; problem?: typeof PROBLEM }[]): Promise<void> {
  const output = await ResultsFile.open(file, SETTINGS, PHOTOS, 1);
  for (const line of lines) {
    await output.append([line]);
  }
  await output.close();
}

test('a run goes on behind the whole lines of the one before', async () => {
  await runThatWrote({ image: 'a.jpg' }, { image: 'b.jpg', problem: PROBLEM });
  const output = await ResultsFile.open(file, SETTINGS, PHOTOS, 1);
  expect([output.photosDone, output.photosFailed]).toEqual([2, 1]);
  await output.append([{ image: 'c.jpg' }]);
  await output.close();
  expect(readFileSync(file, 'utf8')).toBe(
    `{"image":"a.jpg"}\n{"image":"b.jpg","problem":${JSON.stringify(PROBLEM)}}\n{"image":"c.jpg"}\n`,
  );
});

test.each(['{"image":"c', '{"image":"c.jpg"}', '{"image":"h\u00e4'])(
  'a torn last line, %s, is cut off',
  async (torn) => {
    await runThatWrote({ image: 'a.jpg' });
    writeFileSync(file, torn, { flag: 'a' });
    const output = await ResultsFile.open(file, SETTINGS, PHOTOS, 1);
    expect(output.photosDone).toBe(1);
    await output.append([{ image: 'b.jpg' }]);
    await output.close();
    expect(readFileSync(file, 'utf8')).toBe('{"image":"a.jpg"}\n{"image":"b.jpg"}\n');
  },
);

test('a photo with some of its questions answered is begun again', async () => {
  const first = await ResultsFile.open(file, SETTINGS, PHOTOS, 2);
  await first.append([{ image: 'a.jpg' }, { image: 'a.jpg' }]);
  await first.append([{ image: 'b.jpg' }]);
  await first.close();
  const output = await ResultsFile.open(file, SETTINGS, PHOTOS, 2);
  expect(output.photosDone).toBe(1);
  await output.close();
  expect(readFileSync(file, 'utf8')).toBe('{"image":"a.jpg"}\n{"image":"a.jpg"}\n');
});

test('other settings are refused by name, and nothing is lost', async () => {
  await runThatWrote({ image: 'a.jpg' });
  await expect(ResultsFile.open(file, { ...SETTINGS, num_beams: 2 }, PHOTOS, 1)).rejects.toThrow(
    'The output was begun with num_beams 5, not 2; choose another output.',
  );
  expect(readFileSync(file, 'utf8')).toBe('{"image":"a.jpg"}\n');
});

test('other photos are refused, and nothing is lost', async () => {
  await runThatWrote({ image: 'a.jpg' }, { image: 'b.jpg' });
  await expect(ResultsFile.open(file, SETTINGS, ['a.jpg', 'aa.jpg', 'b.jpg'], 1)).rejects.toThrow(
    /^Line 2 of .*results\.jsonl is not of the photo that the input has there\.$/,
  );
  await expect(ResultsFile.open(file, SETTINGS, ['a.jpg'], 1)).rejects.toThrow(/^Line 2 of /);
  expect(readFileSync(file, 'utf8')).toBe('{"image":"a.jpg"}\n{"image":"b.jpg"}\n');
});

test('a file that is of something else is left alone', async () => {
  writeFileSync(file, 'my diary\n');
  await expect(ResultsFile.open(file, SETTINGS, PHOTOS, 1)).rejects.toThrow('is not of an earlier run');
  expect(readFileSync(file, 'utf8')).toBe('my diary\n');
});

test('settings of a run that wrote nothing do not bind the next', async () => {
  await runThatWrote();
  const output = await ResultsFile.open(file, { ...SETTINGS, num_beams: 2 }, PHOTOS, 1);
  expect(output.photosDone).toBe(0);
  await output.close();
});
