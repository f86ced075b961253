import { appendFile, type FileHandle, open, readFile, writeFile } from 'node:fs/promises';

/** An output that a run must not go on with; the message is one sentence that says why. */
export class ResultsFileError extends Error {
  override readonly name = 'ResultsFileError';
}

/** One JSON line of the output. */
export interface ResultLine {
  /** Path of the photo, as in the input. */
  readonly image: string;
  /** In place of the result when the photo failed. */
  readonly problem?: { readonly code: string; readonly detail: string };
}

/** What the lines of an output depend on; an output goes on under the same settings only. */
export type RunSettings = Readonly<Record<string, unknown>>;

/**
 * The output of a run, one or more JSON lines for each photo in input order, which survives being killed: whole
 * photos are kept, what was half written is cut off. The settings lie beside it in `<file>.settings.json`.
 */
export class ResultsFile {
  private constructor(
    private readonly handle: FileHandle,
    /** Photos that were there when the file was opened. */
    readonly photosDone: number,
    /** Of these, photos with a problem. */
    readonly photosFailed: number,
  ) {}

  /**
   * @param linesPerPhoto at least 1
   * @throws ResultsFileError when the file is of other settings, other photos, or not of this program at all.
   */
  static async open(
    file: string,
    settings: RunSettings,
    photos: readonly string[],
    linesPerPhoto: number,
  ): Promise<ResultsFile> {
    // Makes the file where there is none, and shows whether it can be written.
    await appendFile(file, '');
    const written = await readFile(file, 'utf8');
    await claimSettings(`${file}.settings.json`, settings, written === '');
    // What follows the last line break is half a line.
    const lines = written.split('\n').slice(0, -1);
    const photosDone = Math.floor(lines.length / linesPerPhoto);
    const kept = lines.slice(0, photosDone * linesPerPhoto);
    const failed = new Set<number>();
    for (const [n, line] of kept.entries()) {
      const photo = Math.floor(n / linesPerPhoto);
      const { image, problem } = parseLine(line);
      if (image !== photos[photo]) {
        throw new ResultsFileError(`Line ${n + 1} of ${file} is not of the photo that the input has there.`);
      }
      if (problem !== undefined) {
        failed.add(photo);
      }
    }
    const handle = await open(file, 'a');
    await handle.truncate(Buffer.byteLength(kept.map((line) => `${line}\n`).join('')));
    return new ResultsFile(handle, photosDone, failed.size);
  }

  /** @param lines of one photo */
  async append(lines: readonly ResultLine[]): Promise<void> {
    await this.handle.appendFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

async function claimSettings(file: string, settings: RunSettings, fresh: boolean): Promise<void> {
  if (fresh) {
    await writeFile(file, `${JSON.stringify(settings, undefined, 2)}\n`);
    return;
  }
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new ResultsFileError(`The output has content but no ${file}, so it is not of an earlier run.`, { cause });
  }
  const earlier = JSON.parse(text) as RunSettings;
  for (const name of new Set([...Object.keys(settings), ...Object.keys(earlier)])) {
    const [before, now] = [earlier, settings].map((values) => JSON.stringify(values[name]));
    if (before !== now) {
      throw new ResultsFileError(`The output was begun with ${name} ${before}, not ${now}; choose another output.`);
    }
  }
}

function parseLine(line: string): Partial<ResultLine> {
  try {
    return JSON.parse(line) as Partial<ResultLine>;
  } catch {
    return {};
  }
}
