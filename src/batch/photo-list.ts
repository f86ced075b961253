import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

/** Files of a folder that are meant as photos; those of formats that cannot be read are to be reported, not missed. */
const PHOTO_NAME = /\.(?:jpe?g|png|webp|avif|gif|hei[cf]|tiff?|bmp)$/i;

/**
 * The photos of a run, in order: those of a folder and its subfolders sorted by path, or the lines of a list, each the
 * path of a file.
 */
export async function listPhotos(input: string): Promise<string[]> {
  if ((await stat(input)).isDirectory()) {
    return (await photosBelow(input)).sort();
  }
  const lines = (await readFile(input, 'utf8')).split(/\r?\n/);
  return lines.filter((line) => line.trim() !== '');
}

/** Symbolic links to folders are not followed: they may lead in circles. */
async function photosBelow(folder: string): Promise<string[]> {
  const photos: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) {
      photos.push(...(await photosBelow(file)));
    } else if (PHOTO_NAME.test(entry.name)) {
      photos.push(file);
    }
  }
  return photos;
}
