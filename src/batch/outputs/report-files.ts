import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { toHtml } from '../evaluation/html';
import { toMarkdown } from '../evaluation/markdown';
import { reportOf } from '../evaluation/report';
import type { Row } from '../item';
import type { Writer } from './results-file';

/** `<name>.md` and `<name>.html`, from all rows of a run, which it keeps: without regions and alternatives. */
export class ReportFiles implements Writer {
  private readonly rows: Row[] = [];

  constructor(private readonly name: string) {}

  write(rows: readonly Row[]): Promise<void> {
    for (const row of rows) {
      this.rows.push({ ...row, regions: [], alternatives: [] });
    }
    return Promise.resolve();
  }

  async finish(): Promise<void> {
    const report = reportOf(this.rows);
    await writeFile(`${this.name}.md`, toMarkdown(report, path.dirname(this.name)));
    await writeFile(`${this.name}.html`, toHtml(report));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
