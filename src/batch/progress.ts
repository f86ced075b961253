import { SingleBar } from 'cli-progress';

/** Where there is no terminal to redraw a bar on, a line this often. */
const PLAIN_LINE_MS = 5_000;

/** Shows on standard error how far a run is: a bar on a terminal, plain lines elsewhere. */
export class Progress {
  private readonly bar: SingleBar;

  constructor(
    total: number,
    done: number,
    private failedPhotos: number,
  ) {
    const numbers = '{value}/{total} photos, {failed} failed, {duration_formatted} gone, {eta_formatted} left';
    this.bar = new SingleBar({
      format: process.stderr.isTTY ? `{bar} ${numbers}` : numbers,
      noTTYOutput: true,
      notTTYSchedule: PLAIN_LINE_MS,
    });
    this.bar.start(total, done, { failed: failedPhotos });
  }

  get failed(): number {
    return this.failedPhotos;
  }

  count(outcome: 'scored' | 'failed'): void {
    this.failedPhotos += outcome === 'failed' ? 1 : 0;
    this.bar.increment(1, { failed: this.failedPhotos });
  }

  stop(): void {
    this.bar.stop();
  }
}
