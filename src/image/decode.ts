import sharp from 'sharp';
import { ServiceError } from '../errors';
import { ACCEPTED_MEDIA_TYPES, isHeic, unsupportedFormat } from './formats';
import { IMAGE_LIMITS } from './limits';
import { PixelBudget } from './pixel-budget';

/** A photo as the model sees it, and the size of what a person sees. */
export interface DecodedPhoto {
  /** uint8 [H, W, 3], sRGB. */
  readonly pixels: Uint8Array;
  /** Size of the upright photo in pixels. */
  readonly width: number;
  readonly height: number;
}

// Everything else that libvips reads (SVG, PDF, TIFF, ...) is more surface for attacks than it is photos.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: [
    'VipsForeignLoadJpegBuffer',
    'VipsForeignLoadPngBuffer',
    'VipsForeignLoadWebpBuffer',
    'VipsForeignLoadHeifBuffer',
    'VipsForeignLoadNsgifBuffer',
  ],
});
// The photos of a batch are decoded side by side already, and no photo is decoded twice.
sharp.concurrency(1);
sharp.cache(false);

/**
 * What a pixel of the format counts in the budget: these decoders hold the whole photo, and in more than one form
 * (docs/operations.md, by bench/decode-memory.mjs).
 */
const WEIGHTS: Readonly<Record<string, number>> = { 'image/avif': 4, 'image/webp': 2 };

/** Nobody waited for the photo any more when it was its turn. */
export class NotDecoded extends Error {
  override readonly name = 'NotDecoded';
}

export interface DecodeCircumstances {
  /** For the photos that are decoded side by side; by default this one has its own. */
  readonly budget?: PixelBudget;
  readonly signal?: { readonly aborted: boolean };
}

/**
 * Decodes a JPEG, PNG, WebP, AVIF or GIF (of an animation the first frame), turns it upright, lays transparency on
 * white, converts it to sRGB and squashes it to the model's size.
 * @throws ServiceError `unsupported_image_format`, `image_too_large`, `undecodable_image`; NotDecoded
 * @see training/distillvlm/data/pixels.py, the same for training
 */
export async function decodePhoto(
  bytes: Uint8Array,
  size: { readonly height: number; readonly width: number },
  { budget = new PixelBudget(IMAGE_LIMITS.maxPixels), signal }: DecodeCircumstances = {},
): Promise<DecodedPhoto> {
  const { width, height, weight } = await readHeader(bytes);
  return budget.use(width * height * weight, async () => {
    if (signal?.aborted) {
      throw new NotDecoded();
    }
    return { pixels: await decode(bytes, width, height, size), width, height };
  });
}

async function decode(
  bytes: Uint8Array,
  width: number,
  height: number,
  size: { readonly height: number; readonly width: number },
): Promise<Uint8Array> {
  try {
    return await sharp(bytes, { autoOrient: true, failOn: 'error', limitInputPixels: IMAGE_LIMITS.maxPixels })
      // libvips shrinks while it decodes, which training does not do, unless it has something to extract first.
      .extract({ left: 0, top: 0, width, height })
      .flatten({ background: 'white' })
      .resize(size.width, size.height, { fit: 'fill', kernel: 'linear' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer();
  } catch (cause) {
    throw new ServiceError('undecodable_image', 'The image is damaged or incomplete.', { cause });
  }
}

/** Reads the header alone, so that a file that claims to be huge costs nothing. @returns the size of the upright photo */
async function readHeader(bytes: Uint8Array): Promise<{ width: number; height: number; weight: number }> {
  if (bytes.length === 0) {
    throw new ServiceError('undecodable_image', 'The image is empty.');
  }
  if (bytes.length > IMAGE_LIMITS.maxBytes) {
    throw new ServiceError('image_too_large', `The image is larger than ${IMAGE_LIMITS.maxBytes / 1e6} MB.`);
  }
  if (isHeic(bytes)) {
    throw unsupportedFormat(bytes);
  }
  const { mediaType = '', autoOrient: size } = await readMetadata(bytes);
  if (!ACCEPTED_MEDIA_TYPES.includes(mediaType)) {
    throw unsupportedFormat(bytes);
  }
  if (size.width * size.height > IMAGE_LIMITS.maxPixels) {
    throw new ServiceError(
      'image_too_large',
      `The image is ${size.width} x ${size.height}; ${IMAGE_LIMITS.maxPixels / 1e6} megapixels are the limit.`,
    );
  }
  return { ...size, weight: WEIGHTS[mediaType] ?? 1 };
}

async function readMetadata(bytes: Uint8Array): Promise<sharp.Metadata> {
  try {
    return await sharp(bytes, { limitInputPixels: false }).metadata();
  } catch (cause) {
    if (cause instanceof Error && cause.message.includes('unsupported image format')) {
      throw unsupportedFormat(bytes);
    }
    throw new ServiceError('undecodable_image', 'The header of the image is damaged or incomplete.', { cause });
  }
}
