import { Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Logger } from '../../logger';
import type { ObjectStore } from '../inputs/s3';
import type { InferenceService } from '../../inference/service';
import { LocalScorer } from '../scorers/local-scorer';
import { type BatchJob, type BatchResult, KEY_PREFIX, queueOf } from './jobs';

export interface QueueWorkerOptions {
  readonly connection: Redis;
  /** SHA-256 of the bundle's manifest. */
  readonly bundle: string;
  readonly service: InferenceService;
  /** Batches at a time, at least 1. */
  readonly concurrency: number;
  readonly store: ObjectStore;
  /** A worker that the queue has not heard of for so long is dead, and its batches are another's. */
  readonly lockSeconds: number;
  readonly logger: Logger;
}

/** A batch that so many workers died on is given up: it may be what kills them. */
const DEATHS = 3;

/** Takes batches from the queue until it is closed. */
export class QueueWorker {
  private readonly worker: Worker<BatchJob, BatchResult, 'batch'>;
  /** Batches of several runs may have the same place in theirs, and must not share a run of the graphs. */
  private taken = 0;

  constructor(private readonly options: QueueWorkerOptions) {
    const { connection, bundle, concurrency, lockSeconds, logger } = options;
    this.worker = new Worker(queueOf(bundle), ({ data }) => this.score(data), {
      connection,
      prefix: KEY_PREFIX,
      concurrency,
      lockDuration: lockSeconds * 1_000,
      stalledInterval: lockSeconds * 1_000,
      maxStalledCount: DEATHS - 1,
    });
    this.worker.on('completed', ({ id, data, processedOn = 0, finishedOn = 0 }, outcomes) => {
      const failed = outcomes.filter(({ problem }) => problem !== undefined).length;
      const durationMs = finishedOn - processedOn;
      logger.info({ event: 'batch_scored', job: id, items: data.items.length, failed, durationMs });
    });
    this.worker.on('failed', (job, err) => {
      logger.warn({ event: 'batch_failed', job: job?.id, attempt: job?.attemptsMade, err });
    });
    this.worker.on('stalled', (job) => {
      logger.warn({ event: 'batch_of_dead_worker', job });
    });
    // Such as a result of a batch that was given to another since this one was not heard of.
    this.worker.on('error', (err) => {
      logger.warn({ event: 'queue_error', err });
    });
  }

  /** Finishes what is under way. */
  close(): Promise<void> {
    return this.worker.close();
  }

  private score({ items, options }: BatchJob): Promise<BatchResult> {
    const { service, store } = this.options;
    this.taken += 1;
    return new LocalScorer(service, options, store).score({ index: this.taken, items });
  }
}
