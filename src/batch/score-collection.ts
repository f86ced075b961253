import type { InputItem } from './item';
import type { Fingerprint } from './journal';
import type { OutputLock } from './lock';
import { createFiles, isWhole, openJournal } from './output';
import type { Field, OutputFormat } from './outputs/formats';
import type { Writer } from './outputs/results-file';
import { Progress } from './progress';
import { run, type RunOptions } from './run';
import type { Scorer } from './scorers/scorer';
import { type Summary, summaryOf } from './summary';

export interface Collection {
  readonly output: string;
  readonly format: OutputFormat;
  readonly fields: readonly Field[];
  /** Items of the whole input, and of this shard. */
  readonly count: number;
  /** Gives the same items each time. */
  readonly items: () => AsyncIterable<InputItem>;
  readonly fingerprint: Fingerprint;
  readonly restart: boolean;
  /** What is written beside the results. */
  readonly others?: readonly Writer[];
  readonly showProgress: boolean;
  readonly options: RunOptions;
  /** Called when there is work to do. */
  readonly createScorer: () => Promise<Scorer>;
}

/**
 * Scores a collection into an output, or what an earlier run has left of it.
 * @param lock of the output, held by the caller
 * @throws RunError when the output is another run's
 */
export async function scoreCollection(collection: Collection, lock: OutputLock): Promise<Summary> {
  const { output, format, fields, options } = collection;
  const journal = await openJournal(output, collection.fingerprint, collection.restart);
  try {
    const nothingToDo = (await isWhole(output, journal)) && !(options.retryFailed && journal.failedRows > 0);
    const progress = new Progress(itemsOfShard(collection), collection.showProgress && !nothingToDo);
    const files = nothingToDo ? [] : await createFiles(output, format, fields);
    const writers = [...files, ...(collection.others ?? [])];
    const scorer = new LazyScorer(collection.createScorer, lock);
    try {
      await run(collection.items(), scorer, journal, writers, progress, options);
    } finally {
      progress.stop();
      await scorer.close();
      await Promise.all(writers.map((writer) => writer.close()));
    }
    return summaryOf(output, progress);
  } finally {
    await journal.close();
  }
}

/** Where everything is done already, no process is started; what comes back late may be another run's affair. */
class LazyScorer implements Scorer {
  private scorer: Promise<Scorer> | undefined;

  constructor(
    private readonly create: () => Promise<Scorer>,
    private readonly lock: OutputLock,
  ) {}

  async score(batch: Parameters<Scorer['score']>[0]): ReturnType<Scorer['score']> {
    this.scorer ??= this.create();
    const outcomes = await (await this.scorer).score(batch);
    await this.lock.requireHeld();
    return outcomes;
  }

  async close(): Promise<void> {
    const scorer = await this.scorer?.catch(() => undefined);
    await scorer?.close();
  }
}

/** @returns items that are this shard's: whole batches, the last of which may be smaller */
function itemsOfShard({ count, options: { batchSize, shard } }: Collection): number {
  const batches = Math.ceil(count / batchSize);
  const own = Math.max(0, Math.ceil((batches - shard.index) / shard.count));
  const hasLast = batches > 0 && (batches - 1) % shard.count === shard.index;
  return own * batchSize - (hasLast ? batches * batchSize - count : 0);
}
