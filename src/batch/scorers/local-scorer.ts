import { ServiceError } from '../../errors';
import type { InferenceService } from '../../inference/service';
import type { AnswerResult, Caption, CaptionResult, DecodingOptions } from '../../vision-language/results';
import type { ObjectStore } from '../inputs/s3';
import type { InputItem, ItemBatch, Outcome, ScoredSentence } from '../item';
import { readPhoto } from '../photo-bytes';
import { problemOf, rounded, type Scorer } from './scorer';

/** The processes of this machine, the same as the server's. */
export class LocalScorer implements Scorer {
  constructor(
    private readonly service: InferenceService,
    private readonly options: DecodingOptions,
    private readonly store: ObjectStore,
  ) {}

  async score({ index, items }: ItemBatch): Promise<Outcome[]> {
    const photos = await Promise.all(items.map((item) => readOrProblem(item, this.store)));
    const startedMs = performance.now();
    // All in one turn of the event loop, and under one name: exactly these share the runs of the graphs.
    const outcomes = items.map((item, n) => this.scoreOne(item, photos[n], `batch ${index}`));
    return (await Promise.all(outcomes)).map((outcome) => ({
      ...outcome,
      ms: Math.round(performance.now() - startedMs),
    }));
  }

  close(): Promise<void> {
    return this.service.close(0);
  }

  private async scoreOne(
    { question }: InputItem,
    image: Uint8Array | ServiceError | undefined,
    batch: string,
  ): Promise<Outcome> {
    try {
      if (!(image instanceof Uint8Array)) {
        throw image ?? new RangeError('Expected one photo for each item');
      }
      const work = { image, options: this.options, priority: 'bulk', batch } as const;
      return question === undefined
        ? rounded(captionOutcome(await this.service.run({ task: 'caption', ...work })))
        : rounded(answerOutcome(await this.service.run({ task: 'vqa', questions: [question], ...work })));
    } catch (error) {
      if (error instanceof ServiceError && error.code !== 'shutting_down') {
        return problemOf(error);
      }
      throw error;
    }
  }
}

async function readOrProblem(item: InputItem, store: ObjectStore): Promise<Uint8Array | ServiceError> {
  try {
    return await readPhoto(item, store);
  } catch (error) {
    if (error instanceof ServiceError) {
      return error;
    }
    throw error;
  }
}

function captionOutcome({ captions: [best, ...others], width, height, regions }: CaptionResult): Outcome {
  return {
    ...(best && sentence(best)),
    ...(others.length > 0 && { alternatives: others.map(sentence) }),
    width,
    height,
    ...(regions && { regions }),
  };
}

function answerOutcome({ results, width, height, regions }: AnswerResult): Outcome {
  return { answers: results[0]?.answers ?? [], width, height, ...(regions && { regions }) };
}

function sentence({ caption, score, logProbability }: Caption): ScoredSentence {
  return { caption, score, log_probability: logProbability };
}
