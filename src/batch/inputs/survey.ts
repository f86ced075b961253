import { createHash } from 'node:crypto';
import type { InputItem } from '../item';
import type { Input } from './input';
import { isS3Address } from './s3';

export interface Survey {
  readonly items: number;
  /** Of every item in its place; two inputs of equal items are the same input, however they are written. */
  readonly sha256: string;
  /** The first item that has no id, or a caption's where it should be a question's, and so on, is the caller's affair. */
  readonly firstWithoutId?: string;
  /** The first photo that has no place beside it: one in an archive or in S3. */
  readonly firstWithoutFolder?: string;
}

/** @param limit items at most, from the first on */
export async function* limited(input: Input, limit = Infinity): AsyncGenerator<InputItem> {
  let left = limit;
  if (left > 0) {
    for await (const item of input.items()) {
      yield item;
      left -= 1;
      if (left <= 0) {
        return;
      }
    }
  }
}

/** Goes through the input once, before any work: what is malformed shows now, and the run knows what it is of. */
export async function survey(items: AsyncIterable<InputItem>): Promise<Survey> {
  const hash = createHash('sha256');
  let count = 0;
  let firstWithoutId: string | undefined;
  let firstWithoutFolder: string | undefined;
  for await (const { image, question, id, references, reference_answers, answer_type, bytes } of items) {
    hash.update(`${JSON.stringify([image, question, id, references, reference_answers, answer_type])}\n`);
    count += 1;
    firstWithoutId ??= id === undefined ? image : undefined;
    firstWithoutFolder ??= bytes !== undefined || isS3Address(image) ? image : undefined;
  }
  return {
    items: count,
    sha256: hash.digest('hex'),
    ...(firstWithoutId !== undefined && { firstWithoutId }),
    ...(firstWithoutFolder !== undefined && { firstWithoutFolder }),
  };
}

/** Asks each item that brings no question of its own all of these; without any it is captioned. */
export function askingEach(input: Input, questions: readonly string[]): Input {
  return questions.length === 0
    ? input
    : {
        async *items() {
          for await (const item of input.items()) {
            if (item.question !== undefined) {
              yield item;
            } else {
              yield* questions.map((question) => ({ ...item, question }));
            }
          }
        },
      };
}
