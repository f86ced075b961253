import { createHash } from 'node:crypto';
import { RunError } from '../errors';
import type { InputItem } from '../item';
import type { Input } from './input';
import { isS3Address } from './s3';

export interface Survey {
  readonly items: number;
  /** Of every item in its place; two inputs of equal items are the same input, however they are written. */
  readonly sha256: string;
  /** Photos of the first items that not every format has a place for: one without an id, */
  readonly firstWithoutId?: string;
  /** with the id of the item before it, */
  readonly firstWithSameId?: string;
  /** with a question, */
  readonly firstAsked?: string;
  /** and without one. */
  readonly firstCaptioned?: string;
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
  let idBefore: InputItem['id'];
  const first: Partial<Record<Exclude<keyof Survey, 'items' | 'sha256'>, string>> = {};
  const note = (what: keyof typeof first, applies: boolean, image: string): void => {
    if (applies) {
      first[what] ??= image;
    }
  };
  for await (const item of items) {
    const { image, question, id, bytes } = item;
    hash.update(lineOf(item));
    count += 1;
    note('firstWithoutId', id === undefined, image);
    note('firstWithSameId', id !== undefined && id === idBefore, image);
    note('firstAsked', question !== undefined, image);
    note('firstCaptioned', question === undefined, image);
    note('firstWithoutFolder', bytes !== undefined || isS3Address(image), image);
    idBefore = id;
  }
  return { items: count, sha256: hash.digest('hex'), ...first };
}

/**
 * The items of another pass through an input.
 * @throws RunError at their end where they are not those of its survey: results would stand beside other photos
 */
export async function* asSurveyed(items: AsyncIterable<InputItem>, known: Survey): AsyncGenerator<InputItem> {
  const hash = createHash('sha256');
  for await (const item of items) {
    hash.update(lineOf(item));
    yield item;
  }
  if (hash.digest('hex') !== known.sha256) {
    throw new RunError('The input has changed while it was scored; begin anew with --restart when it stays as it is.');
  }
}

function lineOf({ image, question, id, references, reference_answers, answer_type }: InputItem): string {
  return `${JSON.stringify([image, question, id, references, reference_answers, answer_type])}\n`;
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
