import { readdir } from 'node:fs/promises';
import path from 'node:path';

/** Files of a folder that are meant as photos; those of formats that cannot be read are to be reported, not missed. */
const PHOTO_NAME = /\.(?:jpe?g|png|webp|avif|gif|hei[cf]|tiff?|bmp)$/i;

export function isPhotoName(name: string): boolean {
  return PHOTO_NAME.test(name);
}

/**
 * The photos of a folder and its subfolders, sorted by path. Symbolic links to folders are not followed: they may lead
 * in circles.
 */
export async function* photosBelow(folder: string): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true });
  // As the paths below them sort, so that the whole is sorted while one folder at a time is in memory.
  const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort();
  for (const name of names) {
    const file = path.join(folder, name);
    if (name.endsWith('/')) {
      yield* photosBelow(file.slice(0, -1));
    } else if (isPhotoName(name)) {
      yield file;
    }
  }
}
