import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceError } from '../errors';
import type { InferenceEvents } from './events';
import { InFlight } from './in-flight';
import type { Batch, PhotoOutcome } from './messages';
import { PendingJob } from './pending-job';
import { type PoolOptions, ProcessPool } from './pool';
import { type InferenceProcess, ProcessDied } from './process';
import { type JobBatch, JobQueue } from './queue';
import { Routes } from './routes';
import { type InferenceService, type JobResult, type PhotoJob, type ReadyState, RESTART_SECONDS } from './service';

export interface SchedulerOptions extends PoolOptions {
  /** Pairs of photo and question in a batch, at least 1; a caption counts as one. */
  readonly maxBatch: number;
  /** How long a job waits for others to share its batch while a process is free, at least 0. */
  readonly batchWaitMs: number;
  /**
   * Batches that a process is given beside the one that it works on, at least 0: their photos are decoded while its graphs
   * run. What has been given no other process takes, and nothing overtakes it: for work of one kind.
   */
  readonly ahead: number;
}

/** Queues jobs, as many as are let in (`Admission`), and hands each process that is free the next batch of them. */
export class Scheduler implements InferenceService {
  readonly events = new EventEmitter<InferenceEvents>();
  private readonly pool: ProcessPool;
  private readonly queue = new JobQueue();
  private readonly routes = new Routes<InferenceProcess>();
  private readonly inFlight = new InFlight();
  private batches = 0;
  private closing: Promise<void> | undefined;
  private closed = false;

  constructor(private readonly options: SchedulerOptions) {
    this.events.on('processReady', () => {
      this.dispatch();
    });
    this.pool = new ProcessPool(options, this.events);
  }

  get state(): ReadyState {
    if (this.closing !== undefined) {
      return this.closed ? 'stopped' : 'draining';
    }
    return this.pool.readyCount > 0 ? 'ready' : 'starting';
  }

  ready(): Promise<void> {
    return this.pool.ready;
  }

  async run<J extends PhotoJob>(job: J, signal?: AbortSignal): Promise<JobResult<J>> {
    signal?.throwIfAborted();
    if (this.closing !== undefined) {
      throw new ServiceError('shutting_down', 'The server is shutting down.', { retryAfterSeconds: RESTART_SECONDS });
    }
    const asked = new PendingJob(job);
    const equal = this.inFlight.equalTo(asked);
    const pending = equal ?? asked;
    if (equal === undefined) {
      this.inFlight.add(asked);
      this.queue.append(asked);
      this.dispatchSoon();
    } else {
      this.events.emit('jobShared');
    }
    const result = await pending.wait(signal, (reason) => {
      this.giveUp(pending, reason);
    });
    // Nothing was run for a result that is shared.
    return (equal === undefined ? result : { ...result, cached: true }) as JobResult<J>;
  }

  close(timeoutMs: number): Promise<void> {
    this.closing ??= this.drain(timeoutMs);
    return this.closing;
  }

  /** Not at once: the photos of one request come in the same turn of the event loop and can share a batch. */
  private dispatchSoon(): void {
    const { maxBatch, batchWaitMs } = this.options;
    const dispatch = (): void => {
      this.dispatch();
    };
    if (batchWaitMs > 0 && this.queue.units < maxBatch) {
      setTimeout(dispatch, batchWaitMs);
    } else {
      setImmediate(dispatch);
    }
  }

  private dispatch(): void {
    const { maxBatch } = this.options;
    for (let inHand = 0; inHand <= this.ahead; inHand += 1) {
      for (const process of this.pool.having(inHand)) {
        const mayTake = this.routes.jobsFor(process, this.queue.waiting, maxBatch);
        const jobs = this.queue.takeBatch(maxBatch, mayTake);
        if (jobs !== undefined) {
          void this.runBatch(process, jobs);
        }
      }
    }
  }

  /** While a job has its second try nothing goes ahead: a process that then dies has died of that job. */
  private get ahead(): number {
    const { ahead } = this.options;
    return ahead > 0 && this.inFlight.jobs.some(({ hasFailed }) => hasFailed) ? 0 : ahead;
  }

  private async runBatch(process: InferenceProcess, jobs: JobBatch): Promise<void> {
    this.batches += 1;
    const id = this.batches;
    for (const [photo, job] of jobs.entries()) {
      this.routes.remember(job, process);
      job.onAbandoned = () => {
        process.cancel(id, photo);
      };
    }
    const startedMs = performance.now();
    this.events.emit('batchStarted', {
      units: unitsIn(jobs),
      waitsMs: jobs.map(({ queuedAtMs }) => startedMs - queuedAtMs),
    });
    try {
      const outcomes = await process.run(id, toBatch(jobs));
      for (const [photo, outcome] of outcomes.entries()) {
        if (outcome !== 'cancelled') {
          this.settle(jobs[photo], outcome);
        }
      }
      // What was damaged, or left by its clients, ended early and says nothing of the pace.
      const computed = jobs.filter((_, photo) => isComputed(outcomes[photo]));
      if (computed.length > 0) {
        const ms = performance.now() - startedMs;
        this.events.emit('batchEnded', { units: unitsIn(computed), ms, processes: this.pool.readyCount });
      }
    } catch (error) {
      this.retryOrFail(jobs, error);
    }
    this.dispatch();
  }

  private settle(job: PendingJob | undefined, outcome: Exclude<PhotoOutcome, 'cancelled'>): void {
    if ('result' in outcome && outcome.result.cached !== undefined) {
      this.events.emit('photoAnswered', { cached: outcome.result.cached });
    }
    job?.settle(outcome);
  }

  /** Jobs whose batch failed for the first time wait in front again, the others have had their second try. */
  private retryOrFail(jobs: readonly PendingJob[], cause: unknown): void {
    this.options.logger.warn({ event: 'inference_batch_failed', photos: jobs.length, err: cause });
    const unsettled = jobs.filter((job) => !job.settled);
    for (const job of unsettled.filter(({ hasFailed }) => hasFailed)) {
      job.fail(
        cause instanceof ProcessDied
          ? new ServiceError('inference_crashed', 'The inference process died twice while it worked on this photo.', {
              cause,
              retryAfterSeconds: RESTART_SECONDS,
            })
          : new ServiceError('internal_error', 'Inference failed on this photo.', { cause }),
      );
    }
    const again = unsettled.filter(({ hasFailed }) => !hasFailed);
    for (const job of again) {
      job.hasFailed = true;
      job.onAbandoned = undefined;
      this.events.emit('jobRetried');
    }
    this.queue.putBack(again);
  }

  private async drain(timeoutMs: number): Promise<void> {
    const timer = new AbortController();
    await Promise.race([
      Promise.allSettled(this.inFlight.jobs.map(({ result }) => result)),
      sleep(timeoutMs, undefined, { signal: timer.signal }),
    ]);
    timer.abort();
    for (const job of this.inFlight.jobs) {
      const detail = 'The server shut down before this photo had its turn.';
      this.giveUp(job, new ServiceError('shutting_down', detail, { retryAfterSeconds: RESTART_SECONDS }));
    }
    await this.pool.close();
    this.closed = true;
  }

  private giveUp(job: PendingJob, reason: unknown): void {
    if (!job.settled) {
      this.events.emit('jobDropped', { when: this.queue.remove(job) ? 'waiting' : 'running' });
      job.abandon(reason);
    }
  }
}

function unitsIn(jobs: readonly PendingJob[]): number {
  return jobs.reduce((sum, job) => sum + job.units, 0);
}

function isComputed(outcome: PhotoOutcome | undefined): boolean {
  return outcome !== undefined && outcome !== 'cancelled' && 'result' in outcome;
}

function toBatch(jobs: JobBatch): Batch {
  const { task, model, options } = jobs[0].job;
  const photos = jobs.map(({ job }) => ({ image: job.image, questions: job.task === 'vqa' ? job.questions : [] }));
  return { task, ...(model !== undefined && { model }), options, photos };
}
