// Photos for load: distinct pixels, so that no cache and no equal photo of a batch saves work, in mixed sizes.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(import.meta.url);
const sharp = require('sharp');

const ORIGINALS = path.join(import.meta.dirname, '..', '..', 'docs', 'photos');
const NAMES = ['cat', 'coffee', 'flower', 'pavilion'];
/** Long sides in pixels and how many of a hundred photos have them; noise makes the largest 12 MB. */
const SIZES = [
  { side: 640, share: 70, noise: 0 },
  { side: 1600, share: 20, noise: 8 },
  { side: 3000, share: 8, noise: 8 },
  { side: 5000, share: 2, noise: 60 },
];

/** Writes photos into a folder, the same ones in every run. */
export async function makePhotos(folder, count) {
  for (let number = 0; number < count; number += 1) {
    const photo = await makePhoto(number, sizeOf((number * 37) % 100));
    await writeFile(path.join(folder, `${String(number).padStart(3, '0')}.jpg`), photo);
  }
}

export async function readPhotos(folder) {
  const names = await readdir(folder);
  return Promise.all(names.sort().map((name) => readFile(path.join(folder, name))));
}

/**
 * The first `limit` photos of a folder by name, in batches of `size`, each read when it is asked for. Of `count` processes
 * the one of `index` takes every `count`th batch.
 */
export async function* readInBatches(folder, size, limit, index = 0, count = 1) {
  const names = (await readdir(folder)).sort().slice(0, limit);
  for (let first = index * size; first < names.length; first += count * size) {
    const files = names.slice(first, first + size).map((name) => readFile(path.join(folder, name)));
    yield await Promise.all(files);
  }
}

/** @returns the file with bytes behind its end that no decoder reads: equal requests in flight would be answered once */
export function unique(photo) {
  const mark = Buffer.allocUnsafe(8);
  mark.writeDoubleLE(Math.random());
  return Buffer.concat([photo, mark]);
}

function sizeOf(place) {
  let sum = 0;
  return SIZES.find(({ share }) => (sum += share) > place);
}

async function makePhoto(number, { side, noise }) {
  const photo = sharp(await readFile(path.join(ORIGINALS, `${NAMES[number % NAMES.length]}.jpg`)))
    .rotate((number % 7) * 3)
    .resize({ width: side, height: Math.round(side * 0.7), fit: 'cover' });
  if (noise > 0) {
    const grain = {
      width: side,
      height: Math.round(side * 0.7),
      channels: 3,
      noise: { type: 'gaussian', mean: 128, sigma: noise },
    };
    photo.composite([
      {
        input: await sharp({ create: { ...grain, background: '#808080' } })
          .png()
          .toBuffer(),
        blend: 'soft-light',
      },
    ]);
  }
  return photo.jpeg({ quality: noise > 8 ? 98 : 92 }).toBuffer();
}
