import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { listPhotos } from '../../src/batch/photo-list';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'photos-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('of a folder the photos, its subfolders included, sorted by path', async () => {
  mkdirSync(path.join(folder, 'b'));
  const files = [
    'z.JPG',
    'b/2.png',
    'b/10.webp',
    'a.jpeg',
    'notes.txt',
    'a.jpg.bak',
    'phone.heic',
    'dünn 狗.avif',
    '.DS_Store',
  ];
  files.forEach((file) => {
    writeFileSync(path.join(folder, file), '');
  });
  const photos = await listPhotos(folder);
  expect(photos.map((photo) => path.relative(folder, photo))).toEqual([
    'a.jpeg',
    'b/10.webp',
    'b/2.png',
    'dünn 狗.avif',
    'phone.heic',
    'z.JPG',
  ]);
});

test('a loop of symbolic links has an end', async () => {
  writeFileSync(path.join(folder, 'a.jpg'), '');
  symlinkSync(folder, path.join(folder, 'loop'));
  await expect(listPhotos(folder)).resolves.toEqual([path.join(folder, 'a.jpg')]);
});

test('of a list each line, in its order and whatever its ending', async () => {
  const list = path.join(folder, 'list.txt');
  writeFileSync(list, 'b.jpg\r\nno-ending\n\na b.png\nb.jpg');
  await expect(listPhotos(list)).resolves.toEqual(['b.jpg', 'no-ending', 'a b.png', 'b.jpg']);
});

test('an input that is not there is an error', async () => {
  await expect(listPhotos(path.join(folder, 'nothing'))).rejects.toThrow('ENOENT');
});
