import { ServiceError } from '../errors';

/** The least that a body must bring in each window. */
export interface Pace {
  readonly bytes: number;
  readonly windowMs: number;
}

/** What is looked at of a request. */
export interface Incoming {
  readonly socket: { readonly bytesRead: number };
  readonly complete: boolean;
}

/** 16 kB/s, a tenth of what a bad mobile connection uploads, over 5 s. */
export const SLOWEST_PACE: Pace = { bytes: 80_000, windowMs: 5_000 };

/**
 * Reads a body as long as it keeps pace.
 * @throws ServiceError `body_too_slow`
 */
export async function keepPace<Body>(request: Incoming, pace: Pace, read: () => Promise<Body>): Promise<Body> {
  let window: NodeJS.Timeout | undefined;
  const tooSlow = new Promise<never>((_resolve, reject) => {
    // Bytes of the connection: a listener of the body's own would start it flowing before its reader is there.
    let before = request.socket.bytesRead;
    window = setInterval(() => {
      const bytes = request.socket.bytesRead - before;
      before += bytes;
      if (bytes < pace.bytes && !request.complete) {
        const detail = `The body came slower than ${pace.bytes / 1000} kB in ${pace.windowMs / 1000} s.`;
        reject(new ServiceError('body_too_slow', detail));
      }
    }, pace.windowMs);
  });
  try {
    return await Promise.race([read(), tooSlow]);
  } finally {
    clearInterval(window);
  }
}
