import type { Request, Response } from 'express';

/** As much as the largest body that is accepted, and no slower than an honest sender on a local network. */
const DISCARD_LIMIT = { bytes: 64_000_000, milliseconds: 2_000 } as const;

/**
 * Reads what is left of a refused body and keeps nothing of it, so that the refusal reaches a client that writes its
 * whole body before it reads: if the connection closed first, such a client would see a broken pipe. Beyond the limit
 * the connection is closed after the response.
 */
export async function discardBody(request: Request, response: Response): Promise<void> {
  if (request.complete || request.destroyed) {
    return;
  }
  if (isWaitingForContinue(request, response)) {
    response.set('Connection', 'close');
    return;
  }
  if (!(await readToEnd(request))) {
    response.set('Connection', 'close');
  }
}

/** A client that sent `Expect: 100-continue` and has been told nothing yet has not sent its body. */
function isWaitingForContinue(request: Request, response: Response): boolean {
  return request.get('Expect') === '100-continue' && !response.locals.bodyInvited;
}

function readToEnd(request: Request): Promise<boolean> {
  return new Promise((resolve) => {
    let bytes = 0;
    const finish = (): void => {
      clearTimeout(timer);
      request.off('data', count).off('close', finish).off('end', finish);
      resolve(request.complete);
    };
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > DISCARD_LIMIT.bytes) {
        finish();
      }
    };
    const timer = setTimeout(finish, DISCARD_LIMIT.milliseconds);
    request.on('data', count).on('end', finish).on('close', finish).resume();
  });
}
