import type { Row } from './item';
import type { Journal } from './journal';
import type { Writer } from './outputs/results-file';
import type { Progress } from './progress';

/** A batch that the journal has. */
export interface DoneBatch {
  readonly rows: readonly Row[];
  /** Whether it is of an earlier run. */
  readonly resumed: boolean;
}

/** Writes and counts all batches as they come, and then says in the journal that these were all. */
export async function writeRows(
  batches: AsyncIterable<DoneBatch>,
  journal: Journal,
  writers: readonly Writer[],
  progress: Progress,
): Promise<void> {
  for await (const { rows, resumed } of batches) {
    // A writer at a time: what fails in one is met before the next.
    for (const writer of writers) {
      await writer.write(rows);
    }
    progress.count(rows, resumed);
  }
  for (const writer of writers) {
    await writer.finish();
  }
  await journal.finish();
}
