/** Weight of the newest batch in the running mean: the last ten or so count. */
const NEWEST_WEIGHT = 0.2;
const LONGEST_WAIT_SECONDS = 60;

/** How fast jobs leave, measured on the batches that have run. */
export class DrainRate {
  private msPerJob: number | undefined;

  /** @param processes that work side by side, at least 1 */
  record(jobs: number, elapsedMs: number, processes: number): void {
    const newest = elapsedMs / jobs / processes;
    this.msPerJob = this.msPerJob === undefined ? newest : this.msPerJob + NEWEST_WEIGHT * (newest - this.msPerJob);
  }

  /** When `jobs` jobs will have left, for a Retry-After header: whole seconds in 1-60. */
  secondsUntilDone(jobs: number): number {
    const seconds = Math.ceil((jobs * (this.msPerJob ?? 0)) / 1000);
    return Math.min(Math.max(seconds, 1), LONGEST_WAIT_SECONDS);
  }
}
