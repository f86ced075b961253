import { readFile, stat } from 'node:fs/promises';
import { ServiceError } from '../errors';
import { IMAGE_LIMITS } from '../vision-language/facts';
import { isS3Address, readFromS3 } from './inputs/s3';
import type { InputItem } from './item';

/** @throws ServiceError `undecodable_image` when there is no such photo, `image_too_large` before it is read */
export async function readPhoto({ image, bytes }: InputItem): Promise<Uint8Array> {
  if (bytes !== undefined) {
    return bytes;
  }
  let size: number;
  try {
    if (isS3Address(image)) {
      const found = await readFromS3(image, IMAGE_LIMITS.maxBytes);
      if (found instanceof Uint8Array) {
        return found;
      }
      size = found.tooLarge;
    } else {
      const file = await stat(image);
      // A pipe or a device may never end.
      if (!file.isFile()) {
        throw new Error('it is no file');
      }
      if (file.size <= IMAGE_LIMITS.maxBytes) {
        return await readFile(image);
      }
      size = file.size;
    }
  } catch (cause) {
    throw new ServiceError('undecodable_image', `The file cannot be read: ${(cause as Error).message}.`, { cause });
  }
  throw new ServiceError('image_too_large', `The file has ${size} bytes; ${IMAGE_LIMITS.maxBytes} are the limit.`);
}
