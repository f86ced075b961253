import { Redis } from 'ioredis';
import { RunError } from '../errors';

export interface QueueAddress {
  /** Of a Redis or Valkey: `redis://host:port`, with TLS `rediss://`. */
  readonly url: string;
  /** Empty without one. */
  readonly password: string;
}

/** Between attempts at a queue that has been there before; it is waited for without end. */
const LONGEST_PAUSE_MS = 2_000;
const PAUSE_STEP_MS = 100;

/**
 * Connects, and stays connected.
 * @param tell is given a sentence when the connection is lost
 * @throws RunError when there is no queue to begin with
 */
export async function connectToQueue(address: QueueAddress, tell: (sentence: string) => void): Promise<Redis> {
  const place = placeOf(address);
  let isThere = false;
  let lastReason = '';
  const redis = new Redis(address.url, {
    lazyConnect: true,
    // A command waits until the queue is back.
    maxRetriesPerRequest: null,
    retryStrategy: (attempt) => (isThere ? Math.min(attempt * PAUSE_STEP_MS, LONGEST_PAUSE_MS) : null),
    ...(address.password !== '' && { password: address.password }),
  });
  redis.on('error', ({ message }: Error) => {
    if (isThere && message !== lastReason) {
      tell(`The queue at ${place} does not answer, it is waited for: ${message}.`);
    }
    lastReason = message;
  });
  redis.on('ready', () => {
    lastReason = '';
  });
  try {
    await redis.connect();
    await redis.ping();
  } catch (cause) {
    redis.disconnect();
    throw new RunError(sentenceOf(place, lastReason || (cause as Error).message), { cause });
  }
  isThere = true;
  return redis;
}

/** Without a password that may stand in it. */
function placeOf({ url }: QueueAddress): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}

function sentenceOf(place: string, reason: string): string {
  return /^(?:NOAUTH|WRONGPASS)/.test(reason)
    ? `The queue at ${place} refuses the password of QUEUE_PASSWORD.`
    : `The queue at ${place} cannot be reached: ${reason}.`;
}
