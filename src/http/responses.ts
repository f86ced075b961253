import { ServiceError } from '../errors';
import type { AnswerResult, Caption, CaptionResult, PhotoFacts } from '../vision-language/results';
import { toProblem } from './problem';

/** A photo's result, or why it has none. */
export type OrFault<Result> = Result | ServiceError;

/** One caption, or the answers to one question, in the names of openapi.yaml; `image` counts the photos from 0. */
export interface Entry {
  readonly image: number;
  readonly fields: object;
}

/** @param plural whether the request asked for a list, even of one */
export function responseBody(model: string, entries: readonly Entry[], plural: boolean): object {
  return plural
    ? { model, results: entries.map(({ image, fields }) => ({ image, ...fields })) }
    : { model, ...entries[0]?.fields };
}

export function captionEntries(photos: readonly OrFault<CaptionResult>[]): Entry[] {
  return photos.map((photo, image) => ({
    image,
    fields: photo instanceof ServiceError ? { problem: toProblem(photo) } : captionFields(photo),
  }));
}

/** Photo by photo, and for each photo question by question. */
export function answerEntries(photos: readonly OrFault<AnswerResult>[], questions: readonly string[]): Entry[] {
  return photos.flatMap((photo, image) =>
    photo instanceof ServiceError
      ? questions.map((question) => ({ image, fields: { question, problem: toProblem(photo) } }))
      : answerFields(photo).map((fields) => ({ image, fields })),
  );
}

function captionFields({ captions, ...photo }: CaptionResult): object {
  const [best, ...alternatives] = captions.map(sentenceFields);
  return { ...best, ...(alternatives.length > 0 && { alternatives }), ...photoFields(photo) };
}

function sentenceFields({ caption, score, logProbability, words }: Caption): object {
  return { caption, score, log_probability: logProbability, ...(words && { words }) };
}

function answerFields({ results, ...photo }: AnswerResult): object[] {
  return results.map((answered) => ({ ...answered, ...photoFields(photo) }));
}

function photoFields({ width, height, regions }: PhotoFacts): object {
  return { width, height, ...(regions && { regions }) };
}
