import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import type { Settings } from '../config';
import { firstSignal } from '../first-signal';
import { type ModelFacts, readModelFacts } from '../vision-language/facts';
import type { DecodingOptions } from '../vision-language/results';
import { RunError } from './errors';
import type { InputOptions } from './inputs/input';
import { openInput } from './inputs/open-input';
import { ObjectStore } from './inputs/s3';
import { askingEach, asSurveyed, limited, type Survey, survey } from './inputs/survey';
import type { InputItem } from './item';
import type { Fingerprint } from './journal';
import { lockOutput } from './lock';
import type { Options } from './options';
import { removeSpool, resultsFormatOf, spoolOf } from './output';
import { needsIds, type OutputFormat } from './outputs/formats';
import { ReportFiles } from './outputs/report-files';
import { hasSidecar, Sidecars } from './outputs/sidecars';
import { type Collection, scoreCollection } from './score-collection';
import { chooseScorer } from './scorers/choose-scorer';
import type { Summary } from './summary';

/** As a shell has it, the exit code is this and the signal's number. */
const BY_SIGNAL = 128;

/**
 * Scores what the command line says; at SIGTERM or SIGINT the process ends, and a run that is started again goes on.
 * @throws RunError, and errors of the file system, with a sentence for the user
 */
export async function score(inputs: readonly string[], options: Options, settings: Settings): Promise<Summary> {
  const lock = await lockOutput(options.out);
  // In a container the first process dies of no signal that it does not listen to, and what is held would have to expire.
  void firstSignal('SIGTERM', 'SIGINT').then(async (name) => {
    await removeSpool(options.out);
    await lock.release();
    process.exit(BY_SIGNAL + constants.signals[name]);
  });
  try {
    return await scoreCollection(await collectionOf(inputs, options, settings), lock);
  } finally {
    await removeSpool(options.out);
    await lock.release();
  }
}

/** Goes through the input once, and says what is to be made of it. */
async function collectionOf(inputs: readonly string[], options: Options, settings: Settings): Promise<Collection> {
  const { sidecar, batchSize, fields } = options;
  const store = new ObjectStore({ pathStyle: settings.s3PathStyle, maxAttempts: settings.s3MaxAttempts });
  const input = await openInput(inputs, inputOptions(options, store));
  const items = (): AsyncIterable<InputItem> => limited(askingEach(input, options.question), options.limit);
  const known = await survey(items());
  const format = options.format ?? resultsFormatOf(options.out);
  requireFit(format, options, known);
  const facts = await readModelFacts(options.bundle);
  const decoding = decodingOptions(options, facts);
  const choice = await chooseScorer({ options, settings, facts, decoding, store });
  const fingerprint = {
    ...choice.dependsOn,
    ...decodingNames(decoding),
    input: known.sha256,
    items: known.items,
    format,
    fields,
    batch_size: batchSize,
    shard: `${options.shard.index}/${options.shard.count}`,
    skip_existing: options.skipExisting ?? false,
  };
  return {
    output: options.out,
    format,
    fields,
    count: known.items,
    items: () => asSurveyed(items(), known),
    fingerprint,
    restart: options.restart ?? false,
    others: [
      ...(options.report === undefined ? [] : [new ReportFiles(options.report)]),
      ...(sidecar ? [new Sidecars(sidecar, options.overwrite ?? false)] : []),
    ],
    showProgress: true,
    options: {
      batchSize,
      window: choice.window,
      shard: options.shard,
      unordered: options.unordered ?? false,
      retryFailed: options.retryFailed ?? false,
      ...(options.skipExisting &&
        sidecar && { isDone: ({ image }, startedAtMs) => hasSidecar(image, sidecar, startedAtMs) }),
    },
    createScorer: () => choice.create(runOf(fingerprint)),
  };
}

function inputOptions(
  { out, null: endsInNull, inputFormat, images, answers }: Options,
  store: ObjectStore,
): InputOptions {
  const format = endsInNull ? 'list0' : inputFormat;
  return {
    spool: spoolOf(out),
    store,
    ...(format && { format }),
    ...(images !== undefined && { images }),
    ...(answers !== undefined && { answers }),
  };
}

/** @throws RunError where there is no place for an item's result, or the same one for two */
function requireFit(format: OutputFormat, { sidecar, skipExisting }: Options, known: Survey): void {
  if (sidecar && known.firstWithoutFolder !== undefined) {
    throw new RunError(`${known.firstWithoutFolder} lies where no sidecar is written; leave --sidecar out.`);
  }
  if (skipExisting && sidecar === undefined) {
    throw new RunError('--skip-existing looks at sidecars; say which by --sidecar.');
  }
  if (!needsIds(format)) {
    return;
  }
  const [wanted, misfit] = format === 'coco' ? ['no', known.firstAsked] : ['a', known.firstCaptioned];
  if (misfit !== undefined) {
    throw new RunError(`Items of --format ${format} have ${wanted} question, unlike ${misfit}.`);
  }
  if (known.firstWithoutId !== undefined) {
    throw new RunError(`Results of --format ${format} go by id, and ${known.firstWithoutId} has none.`);
  }
  if (known.firstWithSameId !== undefined) {
    throw new RunError(`Results of --format ${format} go by id, and ${known.firstWithSameId} has one twice.`);
  }
}

/** @throws RunError when the bundle does not allow what is asked */
function decodingOptions(options: Options, { defaults, limits }: ModelFacts): DecodingOptions {
  const numBeams = options.numBeams ?? defaults.numBeams;
  const asked = {
    numBeams,
    // Alternatives that nobody has counted are all that the search finds.
    numCaptions: options.numCaptions ?? (options.fields.includes('alternatives') ? numBeams : 1),
    maxTokens: options.maxTokens ?? defaults.maxTokens,
    topK: options.topK ?? defaults.topK,
  };
  const most = { ...limits, numCaptions: numBeams };
  for (const [name, flag] of Object.entries(FLAGS) as [keyof typeof FLAGS, string][]) {
    if (asked[name] > most[name]) {
      throw new RunError(`Expected ${flag} of at most ${most[name]} but received ${asked[name]}`);
    }
  }
  return { ...asked, regions: options.fields.includes('regions'), explain: false };
}

const FLAGS = {
  numBeams: '--num-beams',
  numCaptions: '--num-captions',
  maxTokens: '--max-tokens',
  topK: '--top-k',
} as const;

function decodingNames({ numBeams, numCaptions, maxTokens, topK }: DecodingOptions): Record<string, unknown> {
  return { num_beams: numBeams, num_captions: numCaptions, max_tokens: maxTokens, top_k: topK };
}

/** A name for what is scored; it is in the queue under it. */
function runOf(fingerprint: Fingerprint): string {
  return createHash('sha256').update(JSON.stringify(fingerprint)).digest('hex').slice(0, 32);
}
