import { messageOf } from '../errors';
import { Bundle } from '../onnx/bundle';
import { type Device, loadOnDevice } from '../onnx/device';
import { precisionOn, precisionsOf, requirePrecision } from '../onnx/precision';
import { modelId } from '../vision-language/facts';
import { Predictor } from '../vision-language/predictor';
import type { AnswerResult, CaptionResult } from '../vision-language/results';
import { Ended, type StageReport } from '../vision-language/stage';
import type { AnnouncedBatch, Batch, LoadOrder, MessageToChild, MessageToParent, Outcome } from './messages';
import { receivePhoto } from './photo-pipe';
import { WARM_UP } from './warm-up';

// Entry of an inference process: loads the bundles that it is told, then turns batches into outcomes, one at a time.

/** By `name@version`; the first answers what names none. */
let predictors: ReadonlyMap<string, Predictor> = new Map();
/** One for each photo of the batch that is running. */
let cancellations: readonly AbortController[] = [];

process.on('message', (message: MessageToChild) => {
  obey(message).catch((error: unknown) => {
    send({ type: 'failed', reason: messageOf(error) });
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
    case 'run':
      send({ type: 'outcomes', outcomes: await run(receive(message.batch)), residentBytes: process.memoryUsage.rss() });
      break;
    case 'cancel':
      cancellations[message.photo]?.abort();
  }
}

async function load({ bundles, predictor, threads, device: wish, precision, slot }: LoadOrder): Promise<Device> {
  const onStage = (report: StageReport): void => {
    send({ type: 'stage', report });
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
      return Predictor.load(bundle, { ...predictor, session }, onStage);
    });
    return Promise.all(loading);
  });
  predictors = new Map(loaded.map((each, index) => [idOf(opened[index]), each]));
  return device;
}

function idOf(bundle: Bundle | undefined): string {
  return bundle === undefined ? '' : modelId(bundle.manifest);
}

function receive({ photos, ...batch }: AnnouncedBatch): Batch {
  return {
    ...batch,
    photos: photos.map(({ imageBytes, questions }) => ({ image: receivePhoto(imageBytes), questions })),
  };
}

/** @returns what the last batch took, which is of one unit; with several bundles, the slowest of them */
async function warmUp(): Promise<number> {
  let slowestMs = 0;
  for (const model of predictors.keys()) {
    let startMs = 0;
    for (const batch of WARM_UP) {
      startMs = performance.now();
      await run({ ...batch, model });
    }
    slowestMs = Math.max(slowestMs, performance.now() - startMs);
  }
  return slowestMs;
}

async function run({ task, model, options, photos }: Batch): Promise<Outcome[]> {
  const predictor = model === undefined ? [...predictors.values()][0] : predictors.get(model);
  if (predictor === undefined) {
    throw new Error(`Expected the bundle ${model} to be loaded before its first batch`);
  }
  const requests = photos.map((photo) => ({ ...photo, cancellation: new AbortController() }));
  cancellations = requests.map(({ cancellation }) => cancellation);
  const cancellable = requests.map(({ cancellation, ...photo }) => ({ ...photo, signal: cancellation.signal }));
  const results =
    task === 'caption' ? await predictor.caption(cancellable, options) : await predictor.answer(cancellable, options);
  return results.map(toOutcome);
}

function toOutcome(result: CaptionResult | AnswerResult | Ended): Outcome {
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
