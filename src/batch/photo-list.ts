import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

/** Files of a folder that are meant as photos; those that cannot be read (HEIC, TIFF, ...) are to be reported. */
const PHOTO_NAME = /\.(?:jpe?g|png|webp|avif|gif|hei[cf]|tiff?|bmp)$/i;

/**
 * The photos of a run, in order: those of a folder and its subfolders sorted by path, or the lines of a list, each the
 * path of a file.
 */
export async function listPhotos(input: string): Promise<string[]> {
  if ((await stat(input)).isDirectory()) {
    const names = await readdir(input, { recursive: true });
    return names
      .filter((name) => PHOTO_NAME.test(name))
      .sort()
      .map((name) => path.join(input, name));
  }
  const lines = (await readFile(input, 'utf8')).split(/\r?\n/);
  return lines.filter((line) => line.trim() !== '');
}
