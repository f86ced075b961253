import type { Writer } from './outputs/results-file';
import { asCompleted, inOrder } from './in-order';
import type { InputItem, ItemBatch, Item, Outcome, Row } from './item';
import { cutBatches } from './item';
import type { Journal } from './journal';
import type { Progress } from './progress';
import type { Scorer } from './scorers/scorer';
import { type DoneBatch, writeRows } from './write-rows';

export interface RunOptions {
  /** Items of a batch, at least 1. */
  readonly batchSize: number;
  /** Batches under way at a time, at least 1. */
  readonly window: number;
  /** Every `count`th batch is this run's, from `index` on. */
  readonly shard: { readonly index: number; readonly count: number };
  /** Rows are written as they are done, in place of in the input's order. */
  readonly unordered: boolean;
  /** Batches with a broken item are done again. */
  readonly retryFailed: boolean;
  /** Whether an item has a result from before this run, which began at `startedAtMs`, and is left out. */
  readonly isDone?: (item: Item, startedAtMs: number) => Promise<boolean>;
}

/**
 * Goes through the whole collection: what the journal has is taken from there, the rest is scored and journalled, and
 * everything is written. So a run that goes on where another stopped writes what an unbroken one does.
 */
export async function run(
  items: AsyncIterable<InputItem>,
  scorer: Scorer,
  journal: Journal,
  writers: readonly Writer[],
  progress: Progress,
  options: RunOptions,
): Promise<void> {
  const { batchSize, window, retryFailed, unordered, isDone = () => Promise.resolve(false) } = options;
  const take = async (batch: ItemBatch): Promise<DoneBatch> => {
    const earlier = await journal.read(batch.index);
    if (earlier !== undefined && !(retryFailed && journal.hasFailures(batch.index))) {
      return { rows: earlier, resumed: true };
    }
    const rows = await scoreBatch(batch, scorer, (item) => isDone(item, journal.startedAtMs), earlier);
    await journal.append(batch.index, rows);
    return { rows, resumed: false };
  };
  const batches = ofShard(cutBatches(items, batchSize), options);
  await writeRows((unordered ? asCompleted : inOrder)(batches, window, take), journal, writers, progress);
}

/** @param earlier of the same batch: what was scored then has left a result of this run's own since */
async function scoreBatch(
  { index, items }: ItemBatch,
  scorer: Scorer,
  isDone: (item: Item) => Promise<boolean>,
  earlier: readonly Row[] | undefined,
): Promise<Row[]> {
  const done = earlier ? earlier.map(({ skipped }) => skipped) : await Promise.all(items.map(isDone));
  const wanted = items.filter((_, n) => !done[n]);
  const outcomes = wanted.length === 0 ? [] : [...(await scorer.score({ index, items: wanted }))];
  return items.map((item, n) => toRow(item, done[n] ? { skipped: true } : outcomes.shift()));
}

function toRow(input: InputItem, outcome: Outcome | undefined): Row {
  if (outcome === undefined) {
    throw new RangeError('Expected an outcome for each item');
  }
  // The photo itself is not for the journal; JSON leaves out what is undefined.
  return { ...input, bytes: undefined, ...outcome } as Row;
}

/** Whole batches go to a shard, so that each is what it is in a run without shards. */
async function* ofShard(
  batches: AsyncIterable<ItemBatch>,
  { shard: { index, count } }: RunOptions,
): AsyncGenerator<ItemBatch> {
  for await (const batch of batches) {
    if (batch.index % count === index) {
      yield batch;
    }
  }
}
