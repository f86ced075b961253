import { Command, InvalidArgumentError, Option } from 'commander';
import type { Settings } from '../config';
import { INPUT_FORMATS, type InputFormat } from './inputs/input';
import { DEFAULT_FIELDS, type Field, FIELDS, OUTPUT_FORMATS, type OutputFormat } from './outputs/formats';
import { SIDECARS, type SidecarKind } from './outputs/sidecars';

/** What `score` is told on the command line. */
export interface Options {
  /** Never absent from here on; not the parser's to require, since `merge` has one of its own. */
  readonly out: string;
  readonly question: readonly string[];
  readonly bundle: string;
  readonly numBeams?: number;
  readonly numCaptions?: number;
  readonly maxTokens?: number;
  readonly topK?: number;
  readonly inputFormat?: InputFormat;
  readonly null?: true;
  readonly images?: string;
  readonly answers?: string;
  readonly format?: OutputFormat;
  readonly fields: readonly Field[];
  readonly unordered?: true;
  readonly sidecar?: SidecarKind;
  readonly overwrite?: true;
  readonly skipExisting?: true;
  readonly limit?: number;
  readonly shard: Shard;
  readonly restart?: true;
  readonly retryFailed?: true;
  readonly batchSize: number;
  readonly workers: number;
  readonly url?: string;
  readonly queue?: string;
  readonly report?: string;
  readonly json?: true;
}

export interface Shard {
  /** From 0. */
  readonly index: number;
  readonly count: number;
}

export const WHOLE: Shard = { index: 0, count: 1 };

/**
 * Fixed, whatever a server's is: a run that goes on must cut its input as it was begun. Fewer than 4 cost more for each
 * photo, more gained nothing that could be seen: docs/scoring.md, by bench/score-split.mjs.
 */
const DEFAULT_BATCH_SIZE = 8;

/** A worker's processes are ready for any run's, and a whole batch goes through the graphs at once. */
export const LARGEST_BATCH = 256;

/** Adds the arguments of a run, which README.md promises. */
export function withRunOptions(command: Command, settings: Settings): Command {
  return command
    .argument('<input...>', 'folders, patterns, photos, s3:// addresses, files with items, or - for standard input')
    .option('--out <file>', 'results; a run that was killed goes on where it stopped')
    .option('--question <text>', 'asked of every photo in place of captioning it; may be repeated', append, [])
    .option('--bundle <folder>', 'the model', settings.modelDir)
    .option('--num-beams <number>', "beams of the search, in place of the bundle's own number", wholeNumber)
    .option('--num-captions <number>', 'captions of a photo; the second and further ones are alternatives', wholeNumber)
    .option('--max-tokens <number>', 'word pieces of a caption at most', wholeNumber)
    .option('--top-k <number>', 'answers to a question', wholeNumber)
    .addOption(
      new Option('--input-format <format>', 'of files with items, where the name does not say').choices(INPUT_FORMATS),
    )
    .option('-0, --null', 'paths of a list end in NUL, so that names may hold line breaks')
    .option('--images <folder>', 'where relative paths of photos start')
    .option('--answers <file>', "VQA v2's annotations, to measure the answers against")
    .addOption(
      new Option('--format <format>', "of the results; by default by the output's name").choices(OUTPUT_FORMATS),
    )
    .option('--fields <names>', `comma-separated, of ${FIELDS.join(', ')}`, fieldList, DEFAULT_FIELDS)
    .option('--unordered', "results as they are done, in place of in the input's order")
    .addOption(new Option('--sidecar <kind>', 'writes each caption beside its photo, too').choices(SIDECARS))
    .option('--overwrite', 'replaces sidecars that say something else')
    .option('--skip-existing', 'leaves out photos that have a sidecar')
    .option('--limit <number>', 'items at most, from the first on', wholeNumber)
    .option('--shard <i/n>', 'only the ith of n parts, from 0; "score merge" puts them together', shardOf, WHOLE)
    .option('--restart', 'begins anew, where the output is of an earlier run')
    .option('--retry-failed', 'tries broken items again')
    .option('--batch-size <number>', 'items that share a run of the graphs', batchSize, DEFAULT_BATCH_SIZE)
    .option('--workers <number>', 'processes that each hold the bundle', wholeNumber, settings.inferenceProcesses)
    .option('--url <address>', 'lets a running server do the work; its key is read from API_KEY')
    .addOption(
      new Option(
        '--queue <address>',
        'lets workers at redis://host:port do it; its password is read from QUEUE_PASSWORD',
      )
        .argParser(queueAddress)
        .conflicts('url'),
    )
    .option('--report <name>', 'writes name.md and name.html: scores against references, best and worst, confidence')
    .option('--json', 'a summary on standard output');
}

function append(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}

export function wholeNumber(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) {
    throw new InvalidArgumentError('Expected a whole number from 1.');
  }
  return Number(text);
}

function batchSize(text: string): number {
  const size = wholeNumber(text);
  if (size > LARGEST_BATCH) {
    throw new InvalidArgumentError(`Expected a whole number from 1 to ${LARGEST_BATCH}.`);
  }
  return size;
}

export function queueAddress(text: string): string {
  if (!/^rediss?:\/\/[^/]/.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('Expected an address like redis://host:port.');
  }
  return text;
}

function shardOf(text: string): Shard {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  if (index === undefined || Number(index) >= Number(count)) {
    throw new InvalidArgumentError('Expected i/n with i from 0 to n - 1.');
  }
  return { index: Number(index), count: Number(count) };
}

function fieldList(text: string): Field[] {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !(FIELDS as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`There is no field "${unknown}".`);
  }
  return FIELDS.filter((field) => names.includes(field));
}
