import { Lru } from '../vision-language/lru';
import type { PendingJob } from './pending-job';

/** Photos whose process is remembered: more than the caches of all processes hold. */
const PHOTOS = 10_000;

/** Which process keeps what it has seen of a photo, so that a further question about it goes there. */
export class Routes<Process extends { readonly status: string }> {
  private readonly homes = new Lru<Process>(PHOTOS);

  remember(job: PendingJob, process: Process): void {
    const { sha256 } = job.job;
    if (sha256 !== undefined) {
      this.homes.set(sha256, process);
    }
  }

  /**
   * Tells which jobs a process may take now: those of photos that it has seen or that none has, and those whose process
   * is a batch behind.
   * @param waiting all jobs of the queue
   */
  jobsFor(process: Process, waiting: readonly PendingJob[], maxBatch: number): (job: PendingJob) => boolean {
    const unitsWaitingFor = new Map<Process, number>();
    for (const job of waiting) {
      const home = this.homeOf(job);
      if (home !== undefined) {
        unitsWaitingFor.set(home, (unitsWaitingFor.get(home) ?? 0) + job.units);
      }
    }
    return (job) => {
      const home = this.homeOf(job);
      return home === undefined || home === process || (unitsWaitingFor.get(home) ?? 0) >= maxBatch;
    };
  }

  private homeOf({ job: { sha256 } }: PendingJob): Process | undefined {
    const home = sha256 === undefined ? undefined : this.homes.get(sha256);
    return home?.status === 'gone' ? undefined : home;
  }
}
