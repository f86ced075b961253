import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { RunError } from './errors';
import { exists } from './exists';
import { differenceOf, type Fingerprint, Journal } from './journal';
import { ERRORS_FORMAT, type Field, formatNamed, type OutputFormat } from './outputs/formats';
import { ResultsFile } from './outputs/results-file';

/** Files of a run that stand beside its output. */
export const journalOf = (output: string): string => `${output}.journal`;
export const errorsOf = (output: string): string => `${output}.errors.jsonl`;
/** What came by standard input. */
export const spoolOf = (output: string): string => `${output}.stdin`;

/** @returns what the name of the output says */
export function resultsFormatOf(output: string): OutputFormat {
  return path.extname(output).toLowerCase() === '.csv' ? 'csv' : 'jsonl';
}

/**
 * The journal of an output, to go on with or to begin.
 * @param restart whether to begin anew; undefined where nobody can ask for that
 * @throws RunError when the output is not of such a run
 */
export async function openJournal(output: string, fingerprint: Fingerprint, restart?: boolean): Promise<Journal> {
  const earlier = await Journal.open(journalOf(output));
  if (earlier === undefined) {
    if (((await stat(output).catch(() => undefined))?.size ?? 0) > 0) {
      throw new RunError(
        `${output} has content but no journal, so it is not of an earlier run; choose another output.`,
      );
    }
    return Journal.create(journalOf(output), fingerprint);
  }
  if (restart) {
    await earlier.close();
    return Journal.create(journalOf(output), fingerprint);
  }
  const difference = differenceOf(earlier.fingerprint, fingerprint);
  if (difference !== undefined) {
    await earlier.close();
    const orAnew = restart === undefined ? '' : ', or begin anew with --restart';
    throw new RunError(`The output was begun with ${difference}; choose another output${orAnew}.`);
  }
  return earlier;
}

/** Whether a finished run's files are there, so that nothing is left to do. */
export async function isWhole(output: string, journal: Journal): Promise<boolean> {
  return journal.finished && (await exists(output)) && (journal.failedRows === 0 || (await exists(errorsOf(output))));
}

/** The results and, where there are any, the broken items, both from their beginning. */
export async function createFiles(
  output: string,
  format: OutputFormat,
  fields: readonly Field[],
): Promise<ResultsFile[]> {
  const results = await ResultsFile.create(output, formatNamed(format, fields));
  try {
    return [results, await ResultsFile.create(errorsOf(output), ERRORS_FORMAT, { removeIfEmpty: true })];
  } catch (error) {
    await results.close();
    throw error;
  }
}

export async function removeSpool(output: string): Promise<void> {
  await rm(spoolOf(output), { force: true });
}
