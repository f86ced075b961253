import { Predictor } from '../vision-language/predictor';
import type { AnswerResult, CaptionResult } from '../vision-language/results';
import { Ended } from '../vision-language/stage';
import type { Batch, MessageToChild, MessageToParent, Outcome } from './messages';
import { WARM_UP } from './warm-up';

// Entry of an inference process: loads the bundle that it is told, then turns batches into outcomes, one at a time.

let predictor: Predictor | undefined;
/** One for each photo of the batch that is running. */
let cancellations: readonly AbortController[] = [];

process.on('message', (message: MessageToChild) => {
  receive(message).catch((error: unknown) => {
    send({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
  });
});
process.on('disconnect', () => process.exit());
// A terminal and process managers signal the whole group, but it is the parent that says when work in flight is done.
process.on('SIGTERM', ignore);
process.on('SIGINT', ignore);

async function receive(message: MessageToChild): Promise<void> {
  switch (message.type) {
    case 'load':
      predictor = await Predictor.load(message.bundle, message.predictor, (report) => {
        send({ type: 'stage', report });
      });
      send({ type: 'ready', msPerUnit: await warmUp() });
      break;
    case 'run':
      send({ type: 'outcomes', outcomes: await run(message.batch) });
      break;
    case 'cancel':
      cancellations[message.photo]?.abort();
  }
}

/** @returns what the last batch took, which is of one unit. */
async function warmUp(): Promise<number> {
  let startMs = 0;
  for (const batch of WARM_UP) {
    startMs = performance.now();
    await run(batch);
  }
  return performance.now() - startMs;
}

async function run({ task, options, photos }: Batch): Promise<Outcome[]> {
  if (predictor === undefined) {
    throw new Error('Expected a bundle to be loaded before the first batch');
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
