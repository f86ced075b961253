import type { IncomingMessage, ServerResponse } from 'node:http';
import { waitsToBeAsked } from './request-headers';

/** Long enough for an honest sender on a local network. */
const DISCARD_MS = 2_000;
/** As much as the largest body that is accepted: its sender is to learn what to mend. */
const DISCARD_BYTES = 64_000_000;
/** A photo of the largest size, with room around it: turning away what is too much, or unknown, must itself stay cheap. */
const DISCARD_BYTES_UNDER_LOAD = 25_000_000;

/**
 * Reads what is left of a refused body and keeps nothing of it, so that the refusal reaches a client that writes its
 * whole body before it reads: if the connection closed first, such a client would see a broken pipe. Beyond the limit
 * the connection is closed after the response.
 * @param status of the refusal
 * @param bodyInvited a client that waits for `100 Continue` has been told to send its body
 */
export async function discardBody(
  request: IncomingMessage,
  response: ServerResponse,
  { status, bodyInvited }: { readonly status: number; readonly bodyInvited: boolean },
): Promise<void> {
  if (request.complete || request.destroyed) {
    return;
  }
  const isSlow = status === 408;
  const isUnsent = waitsToBeAsked(request.headers) && !bodyInvited;
  if (isSlow || isUnsent || !(await readToEnd(request, limitOf(status)))) {
    response.setHeader('Connection', 'close');
  }
}

function limitOf(status: number): number {
  return [401, 429, 503].includes(status) ? DISCARD_BYTES_UNDER_LOAD : DISCARD_BYTES;
}

function readToEnd(request: IncomingMessage, limit: number): Promise<boolean> {
  return new Promise((resolve) => {
    let bytes = 0;
    const finish = (): void => {
      clearTimeout(timer);
      request.off('data', count).off('close', finish).off('end', finish);
      resolve(request.complete);
    };
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > limit) {
        finish();
      }
    };
    const timer = setTimeout(finish, DISCARD_MS);
    request.on('data', count).on('end', finish).on('close', finish).resume();
  });
}
