import type { PendingJob } from './pending-job';

/** Jobs that have no result yet, so that an equal one can share theirs. */
export class InFlight {
  private readonly unsettled = new Set<PendingJob>();
  private readonly byResult = new Map<string, PendingJob>();

  get jobs(): readonly PendingJob[] {
    return [...this.unsettled];
  }

  /** A job whose result is also that of the given one, which joins it. */
  equalTo({ job, resultKey }: PendingJob): PendingJob | undefined {
    const equal = resultKey === undefined ? undefined : this.byResult.get(resultKey);
    if (equal === undefined || equal.settled) {
      return undefined;
    }
    equal.join(job);
    return equal;
  }

  /** Adds a job until it has its result. */
  add(job: PendingJob): void {
    const { resultKey } = job;
    this.unsettled.add(job);
    if (resultKey !== undefined) {
      this.byResult.set(resultKey, job);
    }
    const forget = (): void => {
      this.unsettled.delete(job);
      if (resultKey !== undefined && this.byResult.get(resultKey) === job) {
        this.byResult.delete(resultKey);
      }
    };
    job.result.then(forget, forget);
  }
}
