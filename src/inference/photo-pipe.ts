import { readSync } from 'node:fs';
import type { Writable } from 'node:stream';

// The way of compressed photos into a process. By the channel of messages each would be copied into a message, and what
// that leaves behind made the parent collect garbage for as long as it did everything else.

/** The child's end, behind the standard streams and the channel. */
export const PHOTO_PIPE = 4;

export function sendPhotos(pipe: Writable, photos: readonly { readonly image: Uint8Array }[]): void {
  for (const { image } of photos) {
    pipe.write(image);
  }
}

/**
 * Blocks until the photo is here: it is on its way already.
 * @throws Error when the parent is gone
 */
export function receivePhoto(bytes: number): Uint8Array {
  const photo = Buffer.allocUnsafeSlow(bytes);
  for (let received = 0; received < bytes;) {
    const more = readSync(PHOTO_PIPE, photo, received, bytes - received, null);
    if (more === 0) {
      throw new Error('The photos of a batch broke off');
    }
    received += more;
  }
  return photo;
}
