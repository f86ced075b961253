import type { Tokenized } from './caption-scores';
import { countNgrams, ORDERS } from './ngrams';

/** pycocoevalcap's guards against empty counts. */
const TINY = 1e-15;
const SMALL = 1e-9;

/**
 * Corpus BLEU-1 to BLEU-4, 0-1, with the closest reference length.
 * @see Papineni et al. 2002; pycocoevalcap's bleu_scorer.py
 */
export function bleu(photos: readonly Tokenized[]): number[] {
  const correct = Array<number>(ORDERS).fill(0);
  const guessed = Array<number>(ORDERS).fill(0);
  let length = 0;
  let referenceLength = 0;
  for (const { words, references } of photos) {
    length += words.length;
    referenceLength += closest(
      words.length,
      references.map((reference) => reference.length),
    );
    const referenceCounts = references.map(countNgrams);
    for (const [order, counts] of countNgrams(words).entries()) {
      guessed[order] = (guessed[order] ?? 0) + Math.max(0, words.length - order);
      for (const [ngram, count] of counts) {
        const most = Math.max(...referenceCounts.map((each) => each[order]?.get(ngram) ?? 0));
        correct[order] = (correct[order] ?? 0) + Math.min(most, count);
      }
    }
  }
  const ratio = (length + TINY) / (referenceLength + SMALL);
  const brevity = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return correct.map((right, order) => {
    product *= (right + TINY) / ((guessed[order] ?? 0) + SMALL);
    return product ** (1 / (order + 1)) * brevity;
  });
}

/** The shorter one where two are equally close. */
function closest(length: number, lengths: readonly number[]): number {
  const [best = 0] = lengths.toSorted((a, b) => Math.abs(a - length) - Math.abs(b - length) || a - b);
  return best;
}
