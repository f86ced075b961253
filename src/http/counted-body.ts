import type { Readable } from 'node:stream';

/**
 * Reads a body and counts it as it comes.
 * @param onBytes told of every part; where it has a reason not to go on, the reading fails with it and the rest is not kept
 * @param read takes up the body before it returns its promise
 */
export function countBytes<Body>(
  body: Readable,
  onBytes: (bytes: number) => Error | undefined,
  read: () => Promise<Body>,
): Promise<Body> {
  return new Promise((resolve, reject) => {
    const count = (chunk: Buffer): void => {
      const refusal = onBytes(chunk.length);
      if (refusal !== undefined) {
        // The reader has no other end than the body's.
        body.removeAllListeners('data');
        reject(refusal);
      }
    };
    body.on('data', count);
    void read()
      .then(resolve, reject)
      .finally(() => body.off('data', count));
  });
}
