import { ServiceError } from '../errors';
import type { AnswerResult, CaptionResult } from '../vision-language/results';
import type { Outcome } from './messages';
import type { PhotoJob } from './service';

/** A job on its way to its result. It is settled once; what comes later is ignored. */
export class PendingJob {
  readonly result: Promise<CaptionResult | AnswerResult>;
  /** Pairs of photo and question; a caption counts as one. */
  readonly units: number;
  /** Jobs with equal keys may share a batch. */
  readonly batchKey: string;
  /** A batch with this job in it has failed: its second try is alone, so that it fails for its own sake only. */
  hasFailed = false;
  /** Called when nobody waits for the job any more; set while it runs. */
  onAbandoned: (() => void) | undefined;
  private isSettled = false;
  private resolve!: (result: CaptionResult | AnswerResult) => void;
  private reject!: (reason: unknown) => void;

  constructor(readonly job: PhotoJob) {
    this.units = job.task === 'vqa' ? job.questions.length : 1;
    this.batchKey = JSON.stringify([job.task, Object.entries(job.options).sort()]);
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  get settled(): boolean {
    return this.isSettled;
  }

  settle(outcome: Exclude<Outcome, 'cancelled'>): void {
    this.isSettled = true;
    if ('result' in outcome) {
      this.resolve(outcome.result);
    } else {
      this.fail(new ServiceError(outcome.error.code, outcome.error.detail));
    }
  }

  fail(reason: unknown): void {
    this.isSettled = true;
    this.reject(reason);
  }

  abandon(reason: unknown): void {
    this.fail(reason);
    this.onAbandoned?.();
  }
}

/** Jobs with equal batch keys, at least one. */
export type JobBatch = [PendingJob, ...PendingJob[]];

/** Jobs that wait for a process, first come first. */
export class JobQueue {
  private jobs: readonly PendingJob[] = [];

  append(job: PendingJob): void {
    this.jobs = [...this.jobs, job];
  }

  /** Puts jobs that have waited before in front, in their order. */
  putBack(jobs: readonly PendingJob[]): void {
    this.jobs = [...jobs, ...this.jobs];
  }

  remove(job: PendingJob): void {
    this.jobs = this.jobs.filter((waiting) => waiting !== job);
  }

  /**
   * Takes the job that waits longest, and with it as many as may share its batch. So every job gets its turn, and
   * under load, when many wait, batches are large without anyone waiting for them to fill.
   * @param maxUnits a larger job is a batch of its own
   */
  takeBatch(maxUnits: number): JobBatch | undefined {
    const [first, ...others] = this.jobs;
    if (first === undefined) {
      return undefined;
    }
    const batch: JobBatch = [first];
    let units = first.units;
    for (const job of first.hasFailed ? [] : others) {
      if (!job.hasFailed && job.batchKey === first.batchKey && units + job.units <= maxUnits) {
        batch.push(job);
        units += job.units;
      }
    }
    this.jobs = this.jobs.filter((job) => !batch.includes(job));
    return batch;
  }
}
