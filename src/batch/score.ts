import { readFile, stat } from 'node:fs/promises';
import { ServiceError } from '../errors';
import type { InferenceService } from '../inference/service';
import { IMAGE_LIMITS } from '../vision-language/facts';
import type { DecodingOptions } from '../vision-language/results';
import { inOrder } from './in-order';
import type { ResultLine, ResultsFile } from './results-file';

export interface ScoreRun {
  readonly photos: readonly string[];
  /** Asked of every photo; without any it is captioned. */
  readonly questions: readonly string[];
  readonly options: DecodingOptions;
  /** Photos read and queued at a time, at least 1. */
  readonly window: number;
  readonly onPhoto: (outcome: 'scored' | 'failed') => void;
}

/** Scores the photos that the output does not have yet. For one that fails it gets its problem, and the run goes on. */
export async function scorePhotos(service: InferenceService, output: ResultsFile, run: ScoreRun): Promise<void> {
  const photos = run.photos.slice(output.photosDone);
  for await (const lines of inOrder(photos, run.window, (photo) => scorePhoto(service, photo, run))) {
    await output.append(lines);
    run.onPhoto(lines.some(({ problem }) => problem !== undefined) ? 'failed' : 'scored');
  }
}

async function scorePhoto(service: InferenceService, photo: string, run: ScoreRun): Promise<ResultLine[]> {
  try {
    const image = await readPhoto(photo);
    return run.questions.length === 0
      ? await captionLines(service, photo, image, run)
      : await answerLines(service, photo, image, run);
  } catch (error) {
    if (!(error instanceof ServiceError)) {
      throw error;
    }
    const problem = { code: error.code, detail: error.detail };
    return run.questions.length === 0
      ? [{ image: photo, problem }]
      : run.questions.map((question) => ({ image: photo, question, problem }));
  }
}

async function captionLines(service: InferenceService, photo: string, image: Uint8Array, { options }: ScoreRun) {
  const { captions } = await service.run({ task: 'caption', image, options, priority: 'bulk' });
  return captions.slice(0, 1).map(({ caption, score, logProbability }) => ({
    image: photo,
    caption,
    score: round(score),
    log_probability: round(logProbability),
  }));
}

async function answerLines(service: InferenceService, photo: string, image: Uint8Array, run: ScoreRun) {
  const { questions, options } = run;
  const { results } = await service.run({ task: 'vqa', image, questions, options, priority: 'bulk' });
  return results.map(({ question, answers }) => ({
    image: photo,
    question,
    answers: answers.map(({ answer, score }) => ({ answer, score: round(score) })),
  }));
}

async function readPhoto(file: string): Promise<Uint8Array> {
  let size: number;
  try {
    ({ size } = await stat(file));
    if (size <= IMAGE_LIMITS.maxBytes) {
      return await readFile(file);
    }
  } catch (cause) {
    throw new ServiceError('undecodable_image', `The file cannot be read: ${(cause as Error).message}.`, { cause });
  }
  throw new ServiceError('image_too_large', `The file has ${size} bytes; ${IMAGE_LIMITS.maxBytes} are the limit.`);
}

/** onnxruntime's last digits change with the size of a batch; these do not. */
function round(value: number): number {
  return Number(value.toFixed(4));
}
