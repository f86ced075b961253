import { isDeepStrictEqual } from 'node:util';
import { RunError } from './errors';
import { differenceOf, type Fingerprint, Journal } from './journal';
import { lockOutput } from './lock';
import { createFiles, errorsOf, journalOf, openJournal } from './output';
import type { Field, OutputFormat } from './outputs/formats';
import { Progress } from './progress';
import { type Summary, summaryOf } from './summary';
import { type DoneBatch, writeRows } from './write-rows';

interface Part {
  readonly output: string;
  readonly index: number;
  readonly journal: Journal;
}

/**
 * Puts the outputs of all shards together: the same bytes as of a run without shards, with a journal that such a run goes
 * on with.
 * @throws RunError when one is missing, not finished, or of another run
 */
export async function merge(outputs: readonly string[], target: string): Promise<Summary> {
  const lock = await lockOutput(target);
  const parts: Part[] = [];
  try {
    // A pattern such as captions-*.jsonl also finds the error files.
    for (const output of outputs.filter((name) => !outputs.map(errorsOf).includes(name))) {
      parts.push(await openPart(output));
    }
    const whole = requireAllParts(parts);
    return await writeWhole(target, whole, parts);
  } finally {
    await Promise.all(parts.map(({ journal }) => journal.close()));
    await lock.release();
  }
}

async function openPart(output: string): Promise<Part> {
  const journal = await Journal.open(journalOf(output));
  if (journal === undefined) {
    throw new RunError(`${journalOf(output)}, which has the results of ${output}, is not there.`);
  }
  const [index = 0] = shardOf(journal.fingerprint);
  if (!journal.finished) {
    await journal.close();
    throw new RunError(`${output} is not finished; start its run again.`);
  }
  return { output, index, journal };
}

/** @returns the fingerprint of the run without shards */
function requireAllParts(parts: readonly Part[]): Fingerprint {
  const [first] = parts;
  if (first === undefined) {
    throw new RunError('There is nothing to merge.');
  }
  const whole = { ...first.journal.fingerprint, shard: '0/1' };
  const [, count = 1] = shardOf(first.journal.fingerprint);
  for (const { output, journal } of parts) {
    const [index = 0] = shardOf(journal.fingerprint);
    const expected = { ...first.journal.fingerprint, shard: `${index}/${count}` };
    const difference = differenceOf(expected, journal.fingerprint);
    if (difference !== undefined) {
      throw new RunError(`${output} is of another run than ${first.output}, which has ${difference}.`);
    }
  }
  const missing = Array.from({ length: count }, (_, n) => n).filter((n) => !parts.some(({ index }) => index === n));
  if (missing.length > 0 || parts.length !== count) {
    throw new RunError(`Expected each of ${count} shards once; missing: ${missing.join(', ') || 'none'}.`);
  }
  return whole;
}

async function writeWhole(target: string, fingerprint: Fingerprint, parts: readonly Part[]): Promise<Summary> {
  const { items, batch_size, format, fields } = fingerprint as unknown as {
    items: number;
    batch_size: number;
    format: OutputFormat;
    fields: Field[];
  };
  const journal = await openJournal(target, fingerprint);
  const progress = new Progress(items, false);
  const files = await createFiles(target, format, fields);
  try {
    await writeRows(mergedBatches(Math.ceil(items / batch_size), parts, journal), journal, files, progress);
    return summaryOf(target, progress);
  } finally {
    await Promise.all(files.map((file) => file.close()));
    await journal.close();
  }
}

async function* mergedBatches(count: number, parts: readonly Part[], journal: Journal): AsyncGenerator<DoneBatch> {
  for (let batch = 0; batch < count; batch += 1) {
    const part = parts.find(({ index }) => index === batch % parts.length);
    const rows = await part?.journal.read(batch);
    if (rows === undefined) {
      throw new RunError(`Batch ${batch} is in no shard; start their runs again.`);
    }
    // A shard may have scored it again since an earlier merging.
    if (!isDeepStrictEqual(await journal.read(batch), rows)) {
      await journal.append(batch, rows);
    }
    yield { rows, resumed: false };
  }
}

function shardOf({ shard }: Fingerprint): number[] {
  return String(shard).split('/').map(Number);
}
