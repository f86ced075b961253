import { SingleBar } from 'cli-progress';
import { confidenceOf, type Row } from './item';

/** Where there is no terminal to redraw a bar on, a line this often. */
const PLAIN_LINE_MS = 5_000;

/** Counts what becomes of a run's items, and shows it on standard error: a bar on a terminal, plain lines elsewhere. */
export class Progress {
  scored = 0;
  failed = 0;
  skipped = 0;
  /** Of these, from an earlier run. */
  resumed = 0;
  private sumOfScores = 0;
  private readonly startedAtMs = performance.now();
  private readonly bar: SingleBar | undefined;

  /** @param total items of the run, the earlier ones included */
  constructor(total: number, show: boolean) {
    if (show) {
      const numbers =
        '{value}/{total} photos, {failed} failed, {rate}/s, confidence {confidence}, {duration_formatted} gone, {eta_formatted} left';
      this.bar = new SingleBar({
        format: process.stderr.isTTY ? `{bar} ${numbers}` : numbers,
        noTTYOutput: true,
        notTTYSchedule: PLAIN_LINE_MS,
        // The rate of the whole run: batches come in bursts.
        etaBuffer: 1_000,
      });
      this.bar.start(total, 0, this.payload());
    }
  }

  get total(): number {
    return this.scored + this.failed + this.skipped;
  }

  get seconds(): number {
    return (performance.now() - this.startedAtMs) / 1_000;
  }

  get perSecond(): number {
    return (this.total - this.resumed) / Math.max(this.seconds, 1e-3);
  }

  /** Of the items that were scored, 0-1; undefined where there are none. */
  get meanConfidence(): number | undefined {
    return this.scored > 0 ? this.sumOfScores / this.scored : undefined;
  }

  count(rows: readonly Row[], resumed: boolean): void {
    for (const row of rows) {
      if (row.problem !== undefined) {
        this.failed += 1;
      } else if (row.skipped) {
        this.skipped += 1;
      } else {
        this.scored += 1;
        this.sumOfScores += confidenceOf(row) ?? 0;
      }
    }
    this.resumed += resumed ? rows.length : 0;
    this.bar?.update(this.total, this.payload());
  }

  stop(): void {
    this.bar?.stop();
  }

  private payload(): object {
    const confidence = this.meanConfidence?.toFixed(2) ?? '-';
    return { failed: this.failed, rate: this.perSecond.toFixed(1), confidence };
  }
}
