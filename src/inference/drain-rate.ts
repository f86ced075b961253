import type { EventEmitter } from 'node:events';
import type { InferenceEvents } from './events';

/** Weight of the newest batch in the running mean: the last ten or so count. */
const NEWEST_WEIGHT = 0.2;
const LONGEST_WAIT_SECONDS = 60;

/** How fast units (pairs of photo and question) leave, measured on the batches that have run. */
export class DrainRate {
  private guessedMsPerUnit = 0;
  private msPerUnit: number | undefined;

  /** Measures an inference service from now on. */
  static of(events: EventEmitter<InferenceEvents>): DrainRate {
    const rate = new DrainRate();
    events.on('processReady', ({ msPerUnit }) => {
      rate.guess(msPerUnit);
    });
    events.on('batchEnded', ({ units, ms, processes }) => {
      rate.record(units, ms, processes);
    });
    return rate;
  }

  /** Stands until the first batch has run. */
  guess(msPerUnit: number): void {
    this.guessedMsPerUnit = msPerUnit;
  }

  /** @param processes that work side by side, at least 1 */
  record(units: number, elapsedMs: number, processes: number): void {
    const newest = elapsedMs / units / processes;
    this.msPerUnit = this.msPerUnit === undefined ? newest : this.msPerUnit + NEWEST_WEIGHT * (newest - this.msPerUnit);
  }

  /** How long `units` units will take; 0 while nothing is known. */
  msUntilDone(units: number): number {
    return units * (this.msPerUnit ?? this.guessedMsPerUnit);
  }

  /** When `units` units will have left, for a Retry-After header: whole seconds in 1-60. */
  secondsUntilDone(units: number): number {
    const seconds = Math.ceil(this.msUntilDone(units) / 1000);
    return Math.min(Math.max(seconds, 1), LONGEST_WAIT_SECONDS);
  }
}
