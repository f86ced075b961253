import sharp from 'sharp';
import { goldenImage } from '../golden';
import type { Random } from './random';

/** Within them stand the sizes, the tables and the tags of a photo. */
const HEADER_BYTES = 64;

/** Whole photos of every format that is accepted, with what formats can have: profiles, EXIF, palettes, 16 bits, frames. */
export async function seedImages(): Promise<Buffer[]> {
  const size = { width: 40, height: 30, channels: 3 } as const;
  const noise = sharp({ create: { ...size, background: 'teal', noise: { type: 'gaussian', mean: 128, sigma: 60 } } });
  const made = (['jpeg', 'png', 'webp', 'avif', 'gif'] as const).map((format) =>
    noise.clone().toFormat(format).toBuffer(),
  );
  const kept = [
    'exif-6.jpg',
    'cmyk.jpg',
    'display-p3.jpg',
    'palette.png',
    'rgb-16-bit-display-p3.png',
    'animated.webp',
  ];
  return [...(await Promise.all(made)), ...kept.map(goldenImage)];
}

type Mutation = (image: Buffer, random: Random, seeds: readonly Buffer[]) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  function truncated(image, random) {
    return image.subarray(0, random.below(image.length));
  },
  function bitsFlipped(image, random) {
    return changed(image, 1 + random.below(20), (bytes) => {
      const at = random.below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    });
  },
  function headerFlipped(image, random) {
    return changed(image, 1 + random.below(4), (bytes) => {
      bytes[random.below(HEADER_BYTES)] = random.below(256);
    });
  },
  function lengthsOfExtremes(image, random) {
    return changed(image, 1 + random.below(3), (bytes) => {
      bytes.writeUInt32BE(random.of([0, 1, 0x7fffffff, 0x80000000, 0xffffffff]), random.below(bytes.length - 4));
    });
  },
  function headerOfAnother(image, random, seeds) {
    const bytes = random.below(HEADER_BYTES);
    return Buffer.concat([random.of(seeds).subarray(0, bytes), image.subarray(bytes)]);
  },
  function tailOfAnother(image, random, seeds) {
    const other = random.of(seeds);
    return Buffer.concat([image.subarray(0, random.below(image.length)), other.subarray(random.below(other.length))]);
  },
  function partRepeated(image, random) {
    const begin = random.below(image.length);
    const end = begin + random.below(image.length - begin);
    return Buffer.concat([image.subarray(0, end), ...Array<Buffer>(random.below(50)).fill(image.subarray(begin, end))]);
  },
];

function changed(image: Buffer, times: number, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(image);
  for (let n = 0; n < times; n += 1) {
    change(bytes);
  }
  return bytes;
}

/** One of the seeds after one or several mutations. */
export function mutatedImage(seeds: readonly Buffer[], random: Random): Buffer {
  let image = random.of(seeds);
  for (let n = 1 + random.below(3); n > 0 && image.length > HEADER_BYTES; n -= 1) {
    image = random.of(MUTATIONS)(image, random, seeds);
  }
  return image;
}
