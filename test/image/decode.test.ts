import sharp from 'sharp';
import { decodePhoto, NotDecoded } from '../../src/image/decode';
import { PixelBudget } from '../../src/image/pixel-budget';
import { goldenImage, readGolden } from '../golden';
import { photo, pngClaiming, SVG } from '../photos';

interface PixelCase {
  readonly image: string;
  readonly upright: { readonly height: number; readonly width: number };
  readonly size: { readonly height: number; readonly width: number };
  /** Base64 of uint8 [height, width, 3]. */
  readonly pixels: string;
}

const SIZE = { height: 8, width: 8 };

describe('pixels are those of training', () => {
  test.each(readGolden('pixels.json') as PixelCase[])('$image', async ({ image, upright, size, pixels }) => {
    const decoded = await decodePhoto(goldenImage(image), size);
    const expected = Buffer.from(pixels, 'base64');
    expect({ height: decoded.height, width: decoded.width }).toEqual(upright);
    expect(decoded.pixels).toHaveLength(expected.length);
    const differences = expected.map((value, n) => Math.abs(value - (decoded.pixels[n] ?? 0)));
    // Both halves run the same release of libvips; one level is left to other processors' roundings.
    expect(Math.max(...differences)).toBeLessThanOrEqual(1);
  });
});

test('a photo that has the size of the model keeps its pixels', async () => {
  const pixels = Uint8Array.from({ length: 8 * 8 * 3 }, (_, n) => (n * 37) % 256);
  const png = await sharp(pixels, { raw: { ...SIZE, channels: 3 } })
    .png()
    .toBuffer();
  const decoded = await decodePhoto(png, SIZE);
  expect([...decoded.pixels]).toEqual([...pixels]);
});

test('a large JPEG is not shrunk while it is decoded', async () => {
  const jpeg = goldenImage('large.jpg');
  const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true });
  const expected = await sharp(data, { raw: info }).resize(96, 72, { fit: 'fill', kernel: 'linear' }).raw().toBuffer();
  const { pixels } = await decodePhoto(jpeg, { width: 96, height: 72 });
  expect(Buffer.compare(pixels, expected)).toBe(0);
});

const HEIC = Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\x01\xa2meta', 'latin1');

const REFUSED: [string, () => Buffer | Promise<Buffer>, string, RegExp][] = [
  ['an empty file', () => Buffer.alloc(0), 'undecodable_image', /empty/],
  ['text', () => Buffer.from('not a photo'), 'unsupported_image_format', /JPEG, PNG, WebP, AVIF and GIF are accepted/],
  ['an SVG', () => SVG, 'unsupported_image_format', /SVG.*render it as PNG/],
  [
    'an SVG behind its XML header',
    () => Buffer.concat([Buffer.from('\ufeff<?xml version="1.0"?>'), SVG]),
    'unsupported_image_format',
    /SVG/,
  ],
  ['a HEIC', () => HEIC, 'unsupported_image_format', /HEIC.*heif-convert/],
  [
    'a HEIC of the general brand',
    () => Buffer.from(HEIC.toString('latin1').replace('heic', 'mif1'), 'latin1'),
    'unsupported_image_format',
    /HEIC/,
  ],
  ['a TIFF', () => Buffer.from('II*\0\x08\0\0\0', 'latin1'), 'unsupported_image_format', /TIFF.*convert/],
  ['a PDF', () => Buffer.from('%PDF-1.7\n'), 'unsupported_image_format', /PDF/],
  ['a header alone', async () => (await photo('jpeg')).subarray(0, 20), 'undecodable_image', /header/],
  ['a JPEG without its end', async () => (await photo('jpeg')).subarray(0, -30), 'undecodable_image', /incomplete/],
  ['a PNG without its end', async () => (await photo('png')).subarray(0, -30), 'undecodable_image', /incomplete/],
  ['a WebP without its end', async () => (await photo('webp')).subarray(0, -10), 'undecodable_image', /incomplete/],
  ['an AVIF without its end', async () => (await photo('avif')).subarray(0, -10), 'undecodable_image', /incomplete/],
  ['a GIF without its end', async () => (await photo('gif')).subarray(0, 30), 'undecodable_image', /incomplete/],
  [
    'a PNG that claims 50000 x 50000',
    () => pngClaiming(50_000, 50_000),
    'image_too_large',
    /50000 x 50000; 50 megapixels/,
  ],
  ['a PNG that claims one row too many', () => pngClaiming(10_000, 5_001), 'image_too_large', /10000 x 5001/],
  ['30 MB', () => Buffer.alloc(30_000_000, 0xff), 'image_too_large', /20 MB/],
];

test.each(REFUSED)('%s is refused', async (_what, make, code, detail) => {
  await expect(decodePhoto(await make(), SIZE)).rejects.toMatchObject({
    code,
    detail: expect.stringMatching(detail) as string,
  });
});

test.each(['jpeg', 'png', 'webp', 'avif', 'gif'] as const)('%s is read', async (format) => {
  const { pixels, width, height } = await decodePhoto(await photo(format), SIZE);
  expect({ width, height }).toEqual({ width: 12, height: 8 });
  const teal = [0, 128, 128];
  pixels.forEach((value, n) => {
    expect(Math.abs(value - (teal[n % 3] ?? 0))).toBeLessThanOrEqual(4);
  });
});

test.each([
  ['jpeg', 1],
  ['png', 1],
  ['gif', 1],
  ['webp', 2],
  ['avif', 4],
] as const)('%s counts %i times in the budget: its decoder takes so much more memory', async (format, weight) => {
  const counted: number[] = [];
  const budget = new PixelBudget(1);
  budget.use = (pixels, work) => {
    counted.push(pixels);
    return work();
  };
  await decodePhoto(await photo(format), SIZE, { budget });
  expect(counted).toEqual([weight * 12 * 8]);
});

test('a photo that nobody waits for any more when its turn comes is not decoded', async () => {
  const budget = new PixelBudget(1);
  let free!: () => void;
  const before = budget.use(1, () => new Promise<void>((resolve) => (free = resolve)));
  const leaving = new AbortController();
  const decoded = expect(decodePhoto(await photo(), SIZE, { budget, signal: leaving.signal })).rejects.toThrow(
    NotDecoded,
  );
  leaving.abort();
  free();
  await before;
  await decoded;
});
