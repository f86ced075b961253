import { readFile, stat } from 'node:fs/promises';
import { ServiceError } from '../errors';
import { IMAGE_LIMITS } from '../vision-language/facts';
import { fileTooLarge, RunError } from './errors';
import { isS3Address, type ObjectStore } from './inputs/s3';
import type { InputItem } from './item';

/** What the system says of one entry. Everything else, such as a disk that fails or no more file descriptors, holds for all. */
const OF_ONE_PHOTO: readonly (string | undefined)[] = [
  'ENOENT',
  'EISDIR',
  'EACCES',
  // Of a path that cannot be one: through a file, in a circle, too long, or with a null byte.
  'ENOTDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'ERR_INVALID_ARG_VALUE',
];

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
      throw unreadable('it is no file');
    }
    if (file.size > IMAGE_LIMITS.maxBytes) {
      throw fileTooLarge(file.size, IMAGE_LIMITS.maxBytes);
    }
    return await readFile(image);
  } catch (cause) {
    if (cause instanceof ServiceError) {
      throw cause;
    }
    const { code, message } = cause as NodeJS.ErrnoException;
    throw OF_ONE_PHOTO.includes(code)
      ? unreadable(message, cause)
      : new RunError(`${image} cannot be read: ${message}.`, { cause });
  }
}

function unreadable(reason: string, cause?: unknown): ServiceError {
  return new ServiceError('undecodable_image', `The file cannot be read: ${reason}.`, { cause });
}
