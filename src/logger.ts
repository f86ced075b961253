import type { Writable } from 'node:stream';
import { type Logger, pino } from 'pino';
import type { Settings } from './config';

export type { Logger };

/** Of lines that a slow reader has not taken yet; further lines are dropped. */
const MOST_WAITING_BYTES = 1_000_000;
/** What the end of the server waits for such a reader. */
const FLUSH_MS = 1_000;

/**
 * Where log lines go. A device that is full, gone or slow costs lines, which are counted, and nothing else: neither a
 * request nor the end of the server waits for it.
 */
export class LogOutput {
  private dropped = 0;
  private isCut = false;

  /** @param onFirstDrop told once, with the reason */
  constructor(
    private readonly stream: Writable,
    private readonly onFirstDrop: (reason: string) => void = ignore,
  ) {
    // Each line's own callback hears of it; without a listener the error would end the process.
    stream.on('error', ignore);
  }

  get droppedLines(): number {
    return this.dropped;
  }

  write(line: string): void {
    if (this.stream.writableLength > MOST_WAITING_BYTES) {
      this.drop('their reader is too slow');
      return;
    }
    // A device that fills up may have taken the beginning of a line, to which the next must not be joined.
    const text = this.isCut ? `\n${line}` : line;
    this.isCut = false;
    this.stream.write(text, (error) => {
      if (error) {
        this.isCut = true;
        this.drop(error.message);
      }
    });
  }

  /** Resolves when all lines are out or lost, or the reader has had its time. */
  async flush(): Promise<void> {
    if (this.stream.writableLength === 0) {
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, FLUSH_MS);
      this.stream.write('', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  private drop(reason: string): void {
    this.dropped += 1;
    if (this.dropped === 1) {
      this.onFirstDrop(reason);
    }
  }
}

/** Logs are events with fields, one JSON line each on standard output; never bytes of a photo or a user's words. */
export function createLogger(level: Settings['logLevel'], output = new LogOutput(process.stdout)): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, output);
}

function ignore(): void {
  // Nothing is to be done.
}
