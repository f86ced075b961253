import type { Response } from 'express';
import { type ErrorCode, ServiceError } from '../errors';
import type { Ticket } from '../inference/admission';
import { LIMITS } from './limits';
import { type PhotoFetcher } from './photo-fetcher';
import type { OrFault } from './responses';

/** A photo's bytes, or the URL that they are at. */
export type PhotoSource = Uint8Array | string;

/** All that the photos of one request may take to come from their URLs. */
const FETCH_MS = 10_000;

/** Faults that fail the request among several photos too. */
const OF_THE_REQUEST: ReadonlySet<ErrorCode> = new Set(['image_url_refused', 'image_too_large']);

/** Whether a text in place of a photo's bytes is a URL. */
export function isUrl(text: string): boolean {
  return /^https?:/i.test(text);
}

/**
 * Fetches what is named by URL, one after the other. What they may bring is held before the first is fetched.
 * @returns for each source its bytes, or among several why there are none
 * @throws ServiceError `overloaded`, `image_url_refused`, `image_too_large`, and for one photo alone as `PhotoFetcher.fetch`
 */
export async function loadPhotos(
  sources: readonly PhotoSource[],
  fetcher: PhotoFetcher,
  { ticket, response, timeoutMs }: { ticket: Ticket; response: Response; timeoutMs: number },
): Promise<OrFault<Uint8Array>[]> {
  const urls = sources.filter((source) => typeof source === 'string');
  const here = sources.filter((source) => typeof source !== 'string');
  if (urls.length === 0) {
    return here;
  }
  if (!fetcher.isOn) {
    throw new ServiceError('image_url_refused', 'This server fetches no photos; send their bytes, here in base64.');
  }
  const bytesHere = here.reduce((total, { length }) => total + length, 0);
  // All of them together may be as large as those of a form.
  let bytesLeft = Math.min(urls.length * LIMITS.imageBytes, LIMITS.formBytes - bytesHere);
  ticket.take({ units: sources.length, uploads: 1, bytes: bytesHere + bytesLeft });
  const stopped = new AbortController();
  const stop = (): void => {
    stopped.abort();
  };
  // Node 20 may lose a timeout that only `AbortSignal.any` waits for: https://github.com/nodejs/node/issues/57736
  const timer = setTimeout(stop, Math.min(timeoutMs, FETCH_MS));
  response.once('close', stop);
  try {
    const photos: OrFault<Uint8Array>[] = [];
    for (const source of sources) {
      if (typeof source !== 'string') {
        photos.push(source);
        continue;
      }
      const most = Math.min(bytesLeft, LIMITS.imageBytes);
      const photo = await fetcher.fetch(source, most, stopped.signal).catch(asFault);
      if (photo instanceof ServiceError && (sources.length === 1 || OF_THE_REQUEST.has(photo.code))) {
        throw photo;
      }
      bytesLeft -= photo instanceof ServiceError ? 0 : photo.length;
      photos.push(photo);
    }
    return photos;
  } finally {
    clearTimeout(timer);
    response.off('close', stop);
  }
}

function asFault(error: unknown): ServiceError {
  if (error instanceof ServiceError) {
    return error;
  }
  throw error;
}
