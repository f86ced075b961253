import { type JobsOptions, Queue, QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import type { DecodingOptions } from '../../vision-language/results';
import { RunError } from '../errors';
import type { ItemBatch, Outcome } from '../item';
import type { Scorer } from '../scorers/scorer';
import { endConnection } from './connection';
import { type BatchJob, type BatchResult, JOB_OPTIONS, KEY_PREFIX, queueOf } from './jobs';

export interface QueueScorerOptions {
  readonly connection: Redis;
  /** SHA-256 of the bundle's manifest. */
  readonly bundle: string;
  /** Names the run: the same one when it goes on. */
  readonly run: string;
  readonly decoding: DecodingOptions;
  /** Whether what the queue has of an earlier run is done again. */
  readonly fresh: boolean;
  /** In place of `JOB_OPTIONS`. */
  readonly retries?: Pick<JobsOptions, 'attempts' | 'backoff'>;
  /** After which a job that nothing was heard of is looked for. */
  readonly recheckMs?: number;
}

/** Long beside a batch, short beside a run: events are quicker, but the queue may lose them. */
const RECHECK_MS = 5_000;
/**
 * Of one look for events, in place of BullMQ's 10 s. One that a lost connection has cut off is not ended with it, and keeps
 * the process for as long, and a second (https://github.com/redis/ioredis/pull/2197).
 */
const EVENTS_MS = 1_000;

/**
 * Workers on other machines. A batch is a job whose id says run and place, so it is in the queue once, however often it
 * is put there: by a run that goes on, or since the queue has lost it. Its result is taken out of the queue when it is here.
 */
export class QueueScorer implements Scorer {
  private readonly queue: Queue<BatchJob, BatchResult, 'batch'>;
  private readonly events: QueueEvents;
  /** For each job that is waited for, what ends the wait. */
  private readonly waiting = new Map<string, () => void>();
  private isClosed = false;

  private constructor(
    private readonly options: QueueScorerOptions,
    startedAtMs: number,
  ) {
    const { connection, bundle } = options;
    const place = { connection, prefix: KEY_PREFIX };
    this.queue = new Queue(queueOf(bundle), place);
    this.events = new QueueEvents(queueOf(bundle), {
      ...place,
      lastEventId: String(startedAtMs),
      blockingTimeout: EVENTS_MS,
    });
    const wake = ({ jobId }: { jobId: string }): void => this.waiting.get(jobId)?.();
    this.events.on('completed', wake).on('failed', wake);
    // The connection tells of its errors itself.
    this.queue.on('error', () => undefined);
    this.events.on('error', () => undefined);
  }

  static async create(options: QueueScorerOptions): Promise<QueueScorer> {
    // The queue's own clock numbers its events: from here on none is missed.
    const [seconds] = await options.connection.time();
    return new QueueScorer(options, Number(seconds) * 1_000);
  }

  /** How many are at the queue now. */
  workers(): Promise<number> {
    return this.queue.getWorkersCount();
  }

  async score({ index, items }: ItemBatch): Promise<readonly Outcome[]> {
    const jobId = `${this.options.run}-${index}`;
    await this.forgetEarlier(jobId);
    while (!this.isClosed) {
      // From before the look at the job, so that nothing is missed.
      const news = this.newsOf(jobId);
      try {
        // One that is there already stays as it is.
        await this.queue.add('batch', this.toJob(items), { ...JOB_OPTIONS, ...this.options.retries, jobId });
        const outcomes = await this.outcomesOf(jobId, items);
        if (outcomes !== undefined) {
          return outcomes;
        }
        await news.come;
      } finally {
        news.end();
      }
    }
    throw new RunError('The run has ended.');
  }

  async close(): Promise<void> {
    if (this.isClosed) {
      return;
    }
    this.isClosed = true;
    for (const wake of this.waiting.values()) {
      wake();
    }
    await endConnection(this.options.connection, Promise.all([this.queue.close(), this.events.close()]));
  }

  /** Takes the result of a job that has ended; undefined for any other. */
  private async outcomesOf(jobId: string, items: ItemBatch['items']): Promise<readonly Outcome[] | undefined> {
    const state = await this.queue.getJobState(jobId);
    if (state !== 'completed' && state !== 'failed') {
      return undefined;
    }
    const job = await this.queue.getJob(jobId);
    if (state === 'failed') {
      return items.map(() => deadLetter(job?.failedReason));
    }
    await this.queue.remove(jobId);
    return job?.returnvalue;
  }

  /** Comes when the job may have ended. */
  private newsOf(jobId: string): { readonly come: Promise<void>; readonly end: () => void } {
    let end = (): void => undefined;
    const come = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.options.recheckMs ?? RECHECK_MS);
      end = () => {
        clearTimeout(timer);
        this.waiting.delete(jobId);
        resolve();
      };
      this.waiting.set(jobId, resolve);
    });
    return { come, end };
  }

  /** A result that was not collected is as good as a new one; a dead letter is another try's. */
  private async forgetEarlier(jobId: string): Promise<void> {
    if (this.options.fresh || (await this.queue.getJobState(jobId)) === 'failed') {
      await this.queue.remove(jobId);
    }
  }

  private toJob(items: ItemBatch['items']): BatchJob {
    const packed = items.find(({ bytes }) => bytes !== undefined);
    if (packed !== undefined) {
      throw new RunError(`${packed.image} is part of an archive, which workers cannot read; unpack it or use --shard.`);
    }
    return {
      items: items.map(({ image, question }) => ({ image, ...(question !== undefined && { question }) })),
      options: this.options.decoding,
    };
  }
}

function deadLetter(reason = 'no reason'): Outcome {
  return { problem: { code: 'batch_failed', detail: `The workers have given up its batch: ${reason}` } };
}
