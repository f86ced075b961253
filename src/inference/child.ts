import { messageOf } from '../errors';
import { Bundle } from '../onnx/bundle';
import { type Device, loadOnDevice } from '../onnx/device';
import { precisionOn, precisionsOf, requirePrecision } from '../onnx/precision';
import { modelId } from '../vision-language/facts';
import { Predictor } from '../vision-language/predictor';
import type { AnswerResult, CaptionResult } from '../vision-language/results';
import { Ended, type Interest, type StageReport } from '../vision-language/stage';
import type { AnnouncedBatch, Batch, LoadOrder, MessageToChild, MessageToParent, PhotoOutcome } from './messages';
import { receivePhoto } from './photo-pipe';
import { WARM_UP } from './warm-up';

// Entry of an inference process: loads the bundles that it is told, then turns batches into outcomes. One at a time has
// the graphs; a further one is decoded meanwhile.

/** A batch with whether each of its photos is still wanted. */
interface WatchedBatch extends Omit<Batch, 'photos'> {
  readonly photos: readonly (Batch['photos'][number] & Interest)[];
}

/** By `name@version`; the first answers what names none. */
let predictors: ReadonlyMap<string, Predictor> = new Map();
/** One for each photo, by the ids of the batches that are here. */
const cancellations = new Map<number, readonly AbortController[]>();
/** Resolves when every batch that has come has ended, however it did. */
let graphsFree: Promise<unknown> = Promise.resolve();

process.on('message', (message: MessageToChild) => {
  obey(message).catch((error: unknown) => {
    send({ type: 'failed', id: message.type === 'run' ? message.id : undefined, reason: messageOf(error) });
  });
});
process.on('disconnect', () => process.exit());
// A terminal and process managers signal the whole group, but it is the parent that says when work in flight is done.
process.on('SIGTERM', ignore);
process.on('SIGINT', ignore);
process.on('SIGHUP', ignore);

async function obey(message: MessageToChild): Promise<void> {
  switch (message.type) {
    case 'load':
      send({ type: 'ready', device: await load(message), msPerUnit: await warmUp() });
      break;
    case 'run': {
      const { id, batch } = message;
      send({ type: 'outcomes', id, outcomes: await runInTurn(id, batch), residentBytes: process.memoryUsage.rss() });
      break;
    }
    case 'cancel':
      cancellations.get(message.id)?.[message.photo]?.abort();
  }
}

async function load({ bundles, predictor, threads, device: wish, precision, slot }: LoadOrder): Promise<Device> {
  const onStage = (report: StageReport): void => {
    send({ type: 'stage', report });
  };
  const onDecoded = (): void => {
    send({ type: 'decoded' });
  };
  const opened = await Promise.all(
    bundles.map(({ directory, manifestSha256 }) => Bundle.open(directory, manifestSha256)),
  );
  for (const { manifest } of opened) {
    requirePrecision(precision, manifest);
  }
  const { loaded, device } = await loadOnDevice(wish, slot, (executionProviders, name) => {
    const loading = opened.map((bundle) => {
      const session = {
        threads,
        executionProviders,
        precision: precisionOn(name, precision, precisionsOf(bundle.manifest)),
      };
      return Predictor.load(bundle, { ...predictor, session }, onStage, onDecoded);
    });
    return Promise.all(loading);
  });
  predictors = new Map(loaded.map((each, index) => [idOf(opened[index]), each]));
  return device;
}

function idOf(bundle: Bundle | undefined): string {
  return bundle === undefined ? '' : modelId(bundle.manifest);
}

async function runInTurn(id: number, { photos: announced, ...batch }: AnnouncedBatch): Promise<PhotoOutcome[]> {
  const photos = announced.map(({ imageBytes, questions }) => ({
    image: receivePhoto(imageBytes),
    questions,
    cancellation: new AbortController(),
  }));
  cancellations.set(
    id,
    photos.map(({ cancellation }) => cancellation),
  );
  const watched = photos.map(({ cancellation, ...photo }) => ({ ...photo, signal: cancellation.signal }));
  const running = run({ ...batch, photos: watched }, graphsFree);
  graphsFree = running.catch(ignore);
  try {
    return await running;
  } finally {
    cancellations.delete(id);
  }
}

/** @returns what the last batch took, which is of one unit; with several bundles, the slowest of them */
async function warmUp(): Promise<number> {
  let slowestMs = 0;
  for (const model of predictors.keys()) {
    let startMs = 0;
    for (const { photos, ...batch } of WARM_UP) {
      startMs = performance.now();
      await run({ ...batch, model, photos: photos.map((photo) => ({ ...photo, signal: { aborted: false } })) });
    }
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
  }
  return slowestMs;
}

async function run({ task, model, options, photos }: WatchedBatch, turn?: Promise<unknown>): Promise<PhotoOutcome[]> {
  const predictor = model === undefined ? [...predictors.values()][0] : predictors.get(model);
  if (predictor === undefined) {
    throw new Error(`Expected the bundle ${model} to be loaded before its first batch`);
  }
  const results =
    task === 'caption' ? await predictor.caption(photos, options, turn) : await predictor.answer(photos, options, turn);
  return results.map(toOutcome);
}

function toOutcome(result: CaptionResult | AnswerResult | Ended): PhotoOutcome {
  if (!(result instanceof Ended)) {
    return { result };
  }
  if (result.reason === 'cancelled') {
    return 'cancelled';
  }
  const { code, detail } = result.reason;
  return { error: { code, detail } };
}

/** A message that cannot be sent is not missed: the parent is gone, and this process ends too. */
function send(message: MessageToParent): void {
  process.send?.(message, undefined, undefined, ignore);
}

function ignore(): void {
  // As a handler of a signal, it keeps the signal from ending the process.
}
