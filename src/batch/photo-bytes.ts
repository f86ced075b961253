import { readFile, stat } from 'node:fs/promises';
import { ServiceError } from '../errors';
import { IMAGE_LIMITS } from '../vision-language/facts';
import { fileTooLarge } from './errors';
import { isS3Address, type ObjectStore } from './inputs/s3';
import type { InputItem } from './item';

/**
 * @throws ServiceError `undecodable_image` when there is no such photo, `image_too_large` before it is read
 * @throws RunError when no photo could be read
 */
export async function readPhoto({ image, bytes }: InputItem, store: ObjectStore): Promise<Uint8Array> {
  if (bytes !== undefined) {
    return bytes;
  }
  if (isS3Address(image)) {
    return store.read(image, IMAGE_LIMITS.maxBytes);
  }
  try {
    const file = await stat(image);
    // A pipe or a device may never end.
    if (!file.isFile()) {
      throw new Error('it is no file');
    }
    if (file.size > IMAGE_LIMITS.maxBytes) {
      throw fileTooLarge(file.size, IMAGE_LIMITS.maxBytes);
    }
    return await readFile(image);
  } catch (cause) {
    if (cause instanceof ServiceError) {
      throw cause;
    }
    throw new ServiceError('undecodable_image', `The file cannot be read: ${(cause as Error).message}.`, { cause });
  }
}
