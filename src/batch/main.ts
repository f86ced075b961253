import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { readSettings, type Settings } from '../config';
import { createInferenceService } from '../inference/create-service';
import { createLogger } from '../logger';
import { readModelFacts } from '../vision-language/facts';
import { listPhotos } from './photo-list';
import { Progress } from './progress';
import { ResultsFile } from './results-file';
import { scorePhotos } from './score';

interface Arguments {
  readonly out: string;
  readonly question: readonly string[];
  readonly bundle: string;
  readonly numBeams?: number;
}

const SOME_PHOTO_FAILED = 1;
const CANNOT_RUN = 2;

async function main(): Promise<void> {
  const settings = readSettings();
  const command = new Command('score')
    .description('Captions every photo of a folder or list, or answers questions about it, a JSON line each.')
    .argument('<input>', 'a folder, or a text file with the path of a photo in each line')
    .requiredOption('--out <file>', 'results; a run that was killed goes on where it stopped')
    .option('--question <text>', 'asked of every photo in place of captioning it; may be repeated', append, [])
    .option('--bundle <folder>', 'the model', settings.modelDir)
    .option('--num-beams <number>', "beams of the search, in place of the bundle's own number", wholeNumber)
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : CANNOT_RUN))
    .action(async (input: string, given: Arguments) => {
      const failed = await score(input, given, settings);
      process.exitCode = failed > 0 ? SOME_PHOTO_FAILED : 0;
    });
  try {
    await command.parseAsync();
  } catch (error) {
    command.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @returns photos that failed, those before the run was resumed included. */
async function score(input: string, given: Arguments, settings: Settings): Promise<number> {
  const { bundle, question: questions } = given;
  const { defaults, limits } = await readModelFacts(bundle);
  const options = { ...defaults, numCaptions: 1, numBeams: given.numBeams ?? defaults.numBeams };
  if (options.numBeams > limits.numBeams) {
    throw new RangeError(`Expected --num-beams of at most ${limits.numBeams} but received ${options.numBeams}`);
  }
  const photos = await listPhotos(input);
  const dependsOn = {
    bundle: await checksum(path.join(bundle, 'manifest.json')),
    questions,
    num_beams: options.numBeams,
  };
  const output = await ResultsFile.open(given.out, dependsOn, photos, Math.max(questions.length, 1));
  const progress = new Progress(photos.length, output.photosDone, output.photosFailed);
  // One batch for each process to work on, and one that waits for it.
  const window = 2 * settings.maxBatch * settings.inferenceProcesses;
  const service = createInferenceService({
    bundle,
    processes: settings.inferenceProcesses,
    threads: settings.intraOpThreads,
    maxBatch: settings.maxBatch,
    stageTimeoutMs: settings.stageTimeoutMs,
    // A photo is asked everything at once, and once.
    cacheBytes: 0,
    maxPixelsInDecoding: settings.decodeMegapixels * 1e6,
    logger: createLogger('error'),
  });
  try {
    await service.ready();
    await scorePhotos(service, output, {
      photos,
      questions,
      options,
      window,
      onPhoto: (how) => {
        progress.count(how);
      },
    });
  } finally {
    progress.stop();
    await service.close(0);
    await output.close();
  }
  return progress.failed;
}

async function checksum(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}

function append(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) {
    throw new InvalidArgumentError('Expected a whole number from 1.');
  }
  return Number(text);
}

void main();
