import { ServiceError } from '../errors';
import type { AnswerResult, CaptionResult } from '../vision-language/results';
import type { Outcome } from './messages';
import { type PhotoJob, unitsOf } from './service';

/** A job on its way to its result. It is settled once; what comes later is ignored. */
export class PendingJob {
  readonly result: Promise<CaptionResult | AnswerResult>;
  readonly units: number;
  /** Jobs with equal keys may share a batch. */
  readonly batchKey: string;
  /** A batch with this job in it has failed: its second try is alone, so that it fails for its own sake only. */
  hasFailed = false;
  /** On the clock of `performance.now()`. */
  readonly queuedAtMs = performance.now();
  /** Called when nobody waits for the job any more; set while it runs. */
  onAbandoned: (() => void) | undefined;
  private isSettled = false;
  private resolve!: (result: CaptionResult | AnswerResult) => void;
  private reject!: (reason: unknown) => void;

  constructor(readonly job: PhotoJob) {
    this.units = unitsOf(job);
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

/** Where both priorities wait, one batch in so many is of bulk work. */
export const BULK_TURN = 4;

/** Jobs that wait for a process, first come first within their priority. */
export class JobQueue {
  private jobs: readonly PendingJob[] = [];
  private batchesSinceBulk = 0;

  get units(): number {
    return this.jobs.reduce((sum, { units }) => sum + units, 0);
  }

  append(job: PendingJob): void {
    this.jobs = [...this.jobs, job];
  }

  /** Puts jobs that have waited before in front, in their order. */
  putBack(jobs: readonly PendingJob[]): void {
    this.jobs = [...jobs, ...this.jobs];
  }

  /** @returns whether the job was waiting */
  remove(job: PendingJob): boolean {
    const before = this.jobs.length;
    this.jobs = this.jobs.filter((waiting) => waiting !== job);
    return this.jobs.length < before;
  }

  /**
   * Takes the job that waits longest in the priority whose turn it is, and with it as many as may share its batch: its
   * own priority first, then the other. So every job gets its turn, and under load, when many wait, batches are large
   * without anyone waiting for them to fill.
   * @param maxUnits a larger job is a batch of its own
   */
  takeBatch(maxUnits: number): JobBatch | undefined {
    const first = this.next();
    if (first === undefined) {
      return undefined;
    }
    this.batchesSinceBulk = first.job.priority === 'bulk' ? 0 : this.batchesSinceBulk + 1;
    const batch: JobBatch = [first];
    let units = first.units;
    for (const job of first.hasFailed ? [] : this.companionsOf(first)) {
      if (units + job.units <= maxUnits) {
        batch.push(job);
        units += job.units;
      }
    }
    this.jobs = this.jobs.filter((job) => !batch.includes(job));
    return batch;
  }

  private next(): PendingJob | undefined {
    const interactive = this.jobs.find(({ job }) => job.priority === 'interactive');
    const bulk = this.jobs.find(({ job }) => job.priority === 'bulk');
    return this.batchesSinceBulk >= BULK_TURN - 1 ? (bulk ?? interactive) : (interactive ?? bulk);
  }

  private companionsOf(first: PendingJob): PendingJob[] {
    const fitting = this.jobs.filter((job) => job !== first && !job.hasFailed && job.batchKey === first.batchKey);
    const ofItsPriority = ({ job }: PendingJob): boolean => job.priority === first.job.priority;
    return [...fitting.filter(ofItsPriority), ...fitting.filter((job) => !ofItsPriority(job))];
  }
}
