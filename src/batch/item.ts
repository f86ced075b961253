/** What one line of the results is about: a photo to caption, or a question about one. */
export interface Item {
  /** Path or address of the photo, as the input names it. */
  readonly image: string;
  /** Without one the photo is captioned. */
  readonly question?: string;
  /** What the input calls it: a row's `id`, COCO's image id, VQA's question id. */
  readonly id?: string | number;
  /** Captions by people. */
  readonly references?: readonly string[];
  /** Answers by people. */
  readonly reference_answers?: readonly string[];
  readonly answer_type?: string;
}

/** An item on its way to be scored. */
export interface InputItem extends Item {
  /** The compressed photo, where it is no file of its own. */
  readonly bytes?: Uint8Array;
}

/** Items that share a run of the graphs: cut by their place in the input, so that a repeated run cuts the same. */
export interface ItemBatch {
  /** From 0. */
  readonly index: number;
  readonly items: readonly InputItem[];
}

export interface Problem {
  readonly code: string;
  readonly detail: string;
}

export interface ScoredSentence {
  readonly caption: string;
  readonly score: number;
  readonly log_probability: number;
}

/** What became of an item, in the names of the HTTP contract. */
export interface Outcome extends Partial<ScoredSentence> {
  readonly alternatives?: readonly ScoredSentence[];
  /** Best first. */
  readonly answers?: readonly { readonly answer: string; readonly score: number }[];
  /** Of the upright photo in pixels. */
  readonly width?: number;
  readonly height?: number;
  readonly regions?: readonly { readonly box: readonly number[]; readonly score: number }[];
  /** What its batch took. */
  readonly ms?: number;
  /** In place of a result. */
  readonly problem?: Problem;
  /** Left out, since there is a result of an earlier run. */
  readonly skipped?: true;
}

/** An item and what became of it, as the journal keeps them. */
export type Row = Item & Outcome;

/** How sure the model is of its first caption or answer, 0-1. */
export function confidenceOf({ score, answers }: Outcome): number | undefined {
  return score ?? answers?.[0]?.score;
}

/** @param size of every batch but the last */
export async function* cutBatches(items: AsyncIterable<InputItem>, size: number): AsyncGenerator<ItemBatch> {
  let index = 0;
  let batch: InputItem[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length === size) {
      yield { index, items: batch };
      index += 1;
      batch = [];
    }
  }
  if (batch.length > 0) {
    yield { index, items: batch };
  }
}
