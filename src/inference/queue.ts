import type { PendingJob } from './pending-job';

/** Jobs with equal batch keys, at least one. */
export type JobBatch = [PendingJob, ...PendingJob[]];

/** Where both priorities wait, one batch in so many is of bulk work. */
export const BULK_TURN = 4;

/** Jobs that wait for a process, first come first within their priority. */
export class JobQueue {
  private jobs: PendingJob[] = [];
  private batchesSinceBulk = 0;

  get waiting(): readonly PendingJob[] {
    return this.jobs;
  }

  get units(): number {
    return this.jobs.reduce((sum, { units }) => sum + units, 0);
  }

  append(job: PendingJob): void {
    this.jobs.push(job);
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
   * without anyone waiting for them to fill. Jobs that are refused when their turn comes are left out.
   * @param maxUnits a larger job is a batch of its own
   * @param mayTake jobs that are not left for another
   */
  takeBatch(maxUnits: number, mayTake: (job: PendingJob) => boolean = () => true): JobBatch | undefined {
    const candidates = this.jobs.filter(mayTake);
    const first = this.beginNext(candidates);
    if (first === undefined) {
      return undefined;
    }
    this.batchesSinceBulk = first.job.priority === 'bulk' ? 0 : this.batchesSinceBulk + 1;
    const batch: JobBatch = [first];
    let units = first.units;
    for (const job of first.hasFailed ? [] : companionsOf(first, candidates)) {
      if (units + job.units <= maxUnits && job.begin()) {
        batch.push(job);
        units += job.units;
      }
    }
    this.jobs = this.jobs.filter((job) => !batch.includes(job) && !job.settled);
    return batch;
  }

  /** Those before it whose turn comes too late are out of the queue. */
  private beginNext(candidates: readonly PendingJob[]): PendingJob | undefined {
    let left = candidates;
    for (;;) {
      const first = this.next(left);
      if (first === undefined || first.begin()) {
        return first;
      }
      left = left.filter((job) => job !== first);
      this.remove(first);
    }
  }

  private next(candidates: readonly PendingJob[]): PendingJob | undefined {
    const interactive = candidates.find(({ job }) => job.priority === 'interactive');
    const bulk = candidates.find(({ job }) => job.priority === 'bulk');
    return this.batchesSinceBulk >= BULK_TURN - 1 ? (bulk ?? interactive) : (interactive ?? bulk);
  }
}

/** Those that may share the first one's batch, of its own priority first. */
function companionsOf(first: PendingJob, candidates: readonly PendingJob[]): PendingJob[] {
  const fitting = candidates.filter((job) => job !== first && !job.hasFailed && job.batchKey === first.batchKey);
  const ofItsPriority = ({ job }: PendingJob): boolean => job.priority === first.job.priority;
  return [...fitting.filter(ofItsPriority), ...fitting.filter((job) => !ofItsPriority(job))];
}
