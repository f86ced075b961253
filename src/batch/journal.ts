import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { RunError } from './errors';
import type { Row } from './item';
import { JournalPlaces } from './journal-places';
import { readLines } from './text-lines';

/** What a run's results depend on; a run goes on under the same only. */
export type Fingerprint = Readonly<Record<string, unknown>>;

const HEADER = 'distillvlm_journal';
const VERSION = 1;
const BATCH = /^\{"batch":(\d+),"failed":(\d+),"rows":\[.*\]\}$/s;
const FINISHED = '{"finished":true}';
/** What a power cut may take; a process that is killed loses nothing that it has written. */
const SYNC_MS = 1_000;

/** The first line. */
interface Header {
  readonly fingerprint: Fingerprint;
  readonly startedAtMs: number;
}

/**
 * What a run has done, beside its output: a line with the fingerprint and when the run began, then one for each batch
 * with all of its rows, in the order in which they were done. A batch that is there twice counts as it was done last.
 * Half a line at the end is cut off; a batch is there as a whole or not at all.
 */
export class Journal {
  private appending: Promise<void> = Promise.resolve();
  private syncedAtMs = performance.now();

  private constructor(
    private readonly handle: FileHandle,
    private readonly header: Header,
    private readonly places: JournalPlaces,
    private end: number,
    private isFinished: boolean,
  ) {}

  /** Begins a journal; an earlier one is there until this one's first line is. */
  static async create(file: string, fingerprint: Fingerprint): Promise<Journal> {
    const begun = `${file}.begun`;
    const handle = await open(begun, 'w+');
    try {
      // By the clock of the files, which a run compares it with: on storage in a network that is another than ours.
      const { mtimeMs: startedAtMs } = await handle.stat();
      const line = `${JSON.stringify({ [HEADER]: VERSION, started_at_ms: startedAtMs, ...fingerprint })}\n`;
      const bytes = Buffer.from(line);
      await writeWhole(handle, bytes, 0);
      await rename(begun, file);
      return new Journal(handle, { fingerprint, startedAtMs }, new JournalPlaces(), bytes.length, false);
    } catch (error) {
      await handle.close();
      await rm(begun, { force: true });
      throw error;
    }
  }

  /**
   * Opens a journal to go on with it.
   * @returns undefined where there is none, or none that says what it is of
   * @throws RunError when the file is something else
   */
  static async open(file: string): Promise<Journal | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(file, 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        return undefined;
      }
      throw error;
    }
    try {
      const journal = await Journal.read(file, handle);
      if (journal === undefined) {
        await handle.close();
      }
      return journal;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** What a file holds, cut behind its last whole line. */
  private static async read(file: string, handle: FileHandle): Promise<Journal | undefined> {
    const places = new JournalPlaces();
    let header: Header | undefined;
    let end = 0;
    let finished = false;
    for await (const { text, offset, bytes, whole } of readLines(file)) {
      if (!whole) {
        break;
      }
      if (header === undefined) {
        header = parseHeader(file, text);
      } else if (text === FINISHED) {
        finished = true;
      } else {
        const [, batch, failed] = BATCH.exec(text) ?? [];
        if (batch === undefined) {
          break;
        }
        places.set(Number(batch), { offset, bytes, failed: Number(failed) });
        finished = false;
      }
      end = offset + bytes;
    }
    if (header === undefined) {
      return undefined;
    }
    if ((await handle.stat()).size > end) {
      await handle.truncate(end);
    }
    return new Journal(handle, header, places, end, finished);
  }

  get fingerprint(): Fingerprint {
    return this.header.fingerprint;
  }

  /** When the run began, however often it has gone on since; in milliseconds since 1970, as of files. */
  get startedAtMs(): number {
    return this.header.startedAtMs;
  }

  /** Whether a run has come to its end, its output included. */
  get finished(): boolean {
    return this.isFinished;
  }

  /** Rows of these batches that have a problem. */
  get failedRows(): number {
    return this.places.failedRows;
  }

  has(batch: number): boolean {
    return this.places.has(batch);
  }

  hasFailures(batch: number): boolean {
    return (this.places.get(batch)?.failed ?? 0) > 0;
  }

  /** @returns undefined for a batch that is not there */
  async read(batch: number): Promise<readonly Row[] | undefined> {
    const place = this.places.get(batch);
    if (place === undefined) {
      return undefined;
    }
    const buffer = Buffer.alloc(place.bytes);
    await this.handle.read(buffer, 0, place.bytes, place.offset);
    return (JSON.parse(buffer.toString('utf8')) as { rows: Row[] }).rows;
  }

  async append(batch: number, rows: readonly Row[]): Promise<void> {
    const failed = rows.filter(({ problem }) => problem !== undefined).length;
    const place = await this.write(JSON.stringify({ batch, failed, rows }));
    this.places.set(batch, { ...place, failed });
    this.isFinished = false;
  }

  async finish(): Promise<void> {
    if (!this.isFinished) {
      await this.write(FINISHED);
      await this.handle.datasync();
      this.isFinished = true;
    }
  }

  async close(): Promise<void> {
    await this.appending.catch(() => undefined);
    await this.handle.close();
  }

  /** One line after the other. */
  private write(text: string): Promise<{ offset: number; bytes: number }> {
    const line = Buffer.from(`${text}\n`);
    const written = this.appending.then(async () => {
      const offset = this.end;
      await writeWhole(this.handle, line, offset);
      this.end += line.length;
      if (performance.now() - this.syncedAtMs > SYNC_MS) {
        await this.handle.datasync();
        this.syncedAtMs = performance.now();
      }
      return { offset, bytes: line.length };
    });
    this.appending = written.then(() => undefined);
    this.appending.catch(() => undefined);
    return written;
  }
}

/** A disk that is nearly full takes a part, and says so only when it is asked again. */
async function writeWhole(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

function parseHeader(file: string, text: string): Header {
  try {
    // One without a time is of before there was one: whatever is there is from before it.
    const { [HEADER]: version, started_at_ms = Infinity, ...fingerprint } = JSON.parse(text) as Record<string, unknown>;
    if (version === VERSION) {
      return { fingerprint, startedAtMs: Number(started_at_ms) };
    }
  } catch {
    // Said below.
  }
  throw new RunError(`${file} is not the journal of a run of this version; move it away or choose another output.`);
}

/** @returns what differs first, such as `format "csv", not "jsonl"`; nothing where both are the same */
export function differenceOf(earlier: Fingerprint, now: Fingerprint): string | undefined {
  for (const name of new Set([...Object.keys(earlier), ...Object.keys(now)])) {
    const [before, after] = [earlier[name], now[name]].map((value) =>
      value === undefined ? 'none' : JSON.stringify(value),
    );
    if (before !== after) {
      return `${name} ${before}, not ${after}`;
    }
  }
  return undefined;
}
