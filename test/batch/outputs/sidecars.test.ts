import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Sidecars } from '../../../src/batch/outputs/sidecars';
import { temporaryFolder } from '../temporary-folder';

const at = temporaryFolder();

async function write(sidecars: Sidecars, ...rows: readonly [string, string][]): Promise<void> {
  await sidecars.write(rows.map(([name, caption]) => ({ image: at(name), caption })));
  await sidecars.finish();
}

test('a photo that comes twice has one, and what a killed run has left half done is replaced', async () => {
  writeFileSync(at('a.jpg.txt.partial'), 'a d');
  await write(new Sidecars('txt', false), ['a.jpg', 'a dog'], ['a.jpg', 'a dog'], ['b.jpg', 'a cat']);
  expect(readdirSync(at()).sort()).toEqual(['a.jpg.txt', 'b.jpg.txt']);
  expect(readFileSync(at('a.jpg.txt'), 'utf8')).toBe('a dog\n');
});

test('what says something else stays and is named, unless it may be replaced', async () => {
  writeFileSync(at('a.jpg.txt'), 'my own\n');
  await expect(write(new Sidecars('txt', false), ['a.jpg', 'a dog'], ['b.jpg', 'a cat'])).rejects.toThrow(
    /^1 files are there already and say something else, the first of them .*a\.jpg\.txt; --overwrite replaces them/,
  );
  expect([at('a.jpg.txt'), at('b.jpg.txt')].map((file) => readFileSync(file, 'utf8'))).toEqual(['my own\n', 'a cat\n']);
  await write(new Sidecars('txt', true), ['a.jpg', 'a dog']);
  expect(readFileSync(at('a.jpg.txt'), 'utf8')).toBe('a dog\n');
});

test('in XMP a caption is text and no markup', async () => {
  await write(new Sidecars('xmp', false), ['a.jpg', 'cats & <dogs>']);
  expect(readFileSync(at('a.jpg.xmp'), 'utf8')).toContain('>cats &amp; &lt;dogs&gt;</rdf:li>');
});
