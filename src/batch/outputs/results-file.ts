import { type FileHandle, open, rm } from 'node:fs/promises';
import type { Row } from '../item';
import type { Format } from './formats';

/** Takes rows as they are done; what it wrote in a run that was killed is written again in the next. */
export interface Writer {
  write(rows: readonly Row[]): Promise<void>;
  /** After the last row. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

/** Rows in a file, from its beginning. */
export class ResultsFile implements Writer {
  private isFirst = true;

  private constructor(
    private readonly file: string,
    private readonly handle: FileHandle,
    private readonly format: Format,
    private readonly removeIfEmpty: boolean,
  ) {}

  static async create(file: string, format: Format, { removeIfEmpty = false } = {}): Promise<ResultsFile> {
    const handle = await open(file, 'w');
    try {
      await handle.appendFile(format.head);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return new ResultsFile(file, handle, format, removeIfEmpty);
  }

  async write(rows: readonly Row[]): Promise<void> {
    let text = '';
    for (const row of rows) {
      const formatted = this.format.format(row);
      if (formatted !== undefined) {
        text += this.isFirst ? formatted : this.format.separator + formatted;
        this.isFirst = false;
      }
    }
    if (text !== '') {
      await this.handle.appendFile(text);
    }
  }

  async finish(): Promise<void> {
    if (this.isFirst && this.removeIfEmpty) {
      await rm(this.file);
    } else {
      await this.handle.appendFile(this.format.tail);
      await this.handle.datasync();
    }
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
