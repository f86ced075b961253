import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RunError } from '../errors';

export interface QueueAddress {
  /** Of a Redis or Valkey: `redis://host:port`, with TLS `rediss://`. */
  readonly url: string;
  /** Empty without one. */
  readonly password: string;
}

/** Between attempts at a queue that has been there before; it is waited for without end. */
const LONGEST_PAUSE_MS = 500;
const PAUSE_STEP_MS = 100;
const DISCONNECT_MS = 500;
/** For whoever wants to end, a queue that is away for so long is gone. */
const GONE_MS = 5_000;
/** Neither they nor the connections that BullMQ has made after them are to be tried again. */
const ended = new WeakSet<Redis>();

/**
 * Connects, and stays connected.
 * @param tell is given a sentence when the connection is lost
 * @throws RunError when there is no queue to begin with
 */
export async function connectToQueue(address: QueueAddress, tell: (sentence: string) => void): Promise<Redis> {
  const place = placeOf(address);
  let isThere = false;
  let lastReason = '';
  const redis: Redis = new Redis(address.url, {
    lazyConnect: true,
    // A command waits until the queue is back.
    maxRetriesPerRequest: null,
    // A socket that has gone already is waited for all the same, and keeps the process from ending.
    disconnectTimeout: DISCONNECT_MS,
    retryStrategy: (attempt): number | null =>
      isThere && !ended.has(redis) ? Math.min(attempt * PAUSE_STEP_MS, LONGEST_PAUSE_MS) : null,
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

/**
 * Ends a connection behind what is being closed. That waits for the queue without end; where it is gone, the connection
 * ends without it.
 */
export async function endConnection(redis: Redis, closing: Promise<unknown>): Promise<void> {
  const closed = closing.catch((error: unknown) => {
    if (redis.status === 'ready') {
      throw error;
    }
  });
  await Promise.race([closed, untilGone(redis)]);
  ended.add(redis);
  redis.disconnect();
}

async function untilGone(redis: Redis): Promise<void> {
  for (let awayMs = 0; awayMs < GONE_MS; awayMs = redis.status === 'ready' ? 0 : awayMs + PAUSE_STEP_MS) {
    await sleep(PAUSE_STEP_MS, undefined, { ref: false });
  }
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
