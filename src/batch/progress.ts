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

  /** @param expected items of the run, the earlier ones included */
  constructor(
    private readonly expected: number,
    show: boolean,
    stream: NodeJS.WriteStream = process.stderr,
  ) {
    if (show) {
      const numbers =
        '{value}/{total} photos, {failed} failed, {rate}/s, confidence {confidence}, {gone} gone, {left} left';
      this.bar = new SingleBar({
        stream,
        format: stream.isTTY ? `{bar} ${numbers}` : numbers,
        noTTYOutput: true,
        notTTYSchedule: PLAIN_LINE_MS,
      });
      this.bar.start(expected, 0, this.payload());
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
    // By the pace of this run alone: what an earlier one did took no time.
    const leftSeconds = (this.expected - this.total) / this.perSecond;
    const left = Number.isFinite(leftSeconds) ? clock(leftSeconds) : '-';
    return { failed: this.failed, rate: this.perSecond.toFixed(1), confidence, left, gone: clock(this.seconds) };
  }
}

/** Hours, minutes and seconds. */
function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const [minutes, rest] = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, '0'));
  return `${Math.floor(whole / 3_600)}:${minutes}:${rest}`;
}
