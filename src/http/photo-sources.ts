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
  if (urls.length === 0) {
    return sources.filter((source) => typeof source !== 'string');
  }
  if (!fetcher.isOn) {
    throw new ServiceError('image_url_refused', 'This server fetches no photos; send their bytes, here in base64.');
  }
  let bytesLeft = Math.min(urls.length * LIMITS.imageBytes, LIMITS.formBytes);
  ticket.take({ units: sources.length, uploads: 1, bytes: bytesLeft });
  const left = new AbortController();
  response.once('close', () => {
    left.abort();
  });
  const signal = AbortSignal.any([left.signal, AbortSignal.timeout(Math.min(timeoutMs, FETCH_MS))]);
  const photos: OrFault<Uint8Array>[] = [];
  for (const source of sources) {
    const photo =
      typeof source === 'string'
        ? await fetcher.fetch(source, Math.min(bytesLeft, LIMITS.imageBytes), signal).catch(asFault)
        : source;
    if (photo instanceof ServiceError && (sources.length === 1 || OF_THE_REQUEST.has(photo.code))) {
      throw photo;
    }
    bytesLeft -= photo instanceof ServiceError ? 0 : photo.length;
    photos.push(photo);
  }
  return photos;
}

function asFault(error: unknown): ServiceError {
  if (error instanceof ServiceError) {
    return error;
  }
  throw error;
}
