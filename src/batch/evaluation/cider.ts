import type { Tokenized } from './caption-scores';
import { countNgrams, type NgramCounts, ORDERS } from './ngrams';

/** Width of the penalty for a caption of another length than the reference. */
const SIGMA = 6;

interface Vector {
  /** Weights of the n-grams, by length. */
  readonly weights: readonly ReadonlyMap<string, number>[];
  readonly norms: readonly number[];
  /** As pycocoevalcap counts it: pairs of words. */
  readonly length: number;
}

/**
 * CIDEr-D of each photo, with the document frequencies of the references, in pycocoevalcap's units (10 is perfect).
 * @see Vedantam et al. 2015, arXiv:1411.5726; pycocoevalcap's cider_scorer.py
 */
export function ciderD(photos: readonly Tokenized[]): number[] {
  const counted = photos.map(({ words, references }) => ({
    words: countNgrams(words),
    references: references.map(countNgrams),
  }));
  const frequency = documentFrequency(counted.map(({ references }) => references));
  const logDocuments = Math.log(photos.length);
  const weigh = (counts: NgramCounts): Vector => vectorOf(counts, frequency, logDocuments);
  return counted.map(({ words, references }) => {
    const hypothesis = weigh(words);
    const sum = references.reduce((total, reference) => total + similarity(hypothesis, weigh(reference)), 0);
    return (10 * sum) / ORDERS / references.length;
  });
}

/** In the references of how many photos each n-gram occurs. */
function documentFrequency(photos: readonly (readonly NgramCounts[])[]): Map<string, number> {
  const frequency = new Map<string, number>();
  for (const references of photos) {
    const seen = new Set(references.flatMap((counts) => counts.flatMap((ofLength) => [...ofLength.keys()])));
    for (const ngram of seen) {
      frequency.set(ngram, (frequency.get(ngram) ?? 0) + 1);
    }
  }
  return frequency;
}

function vectorOf(counts: NgramCounts, frequency: ReadonlyMap<string, number>, logDocuments: number): Vector {
  const weights = counts.map(
    (ofLength) =>
      new Map(
        [...ofLength].map(([ngram, count]) => [
          ngram,
          count * (logDocuments - Math.log(Math.max(1, frequency.get(ngram) ?? 0))),
        ]),
      ),
  );
  return {
    weights,
    norms: weights.map((ofLength) => Math.hypot(...ofLength.values())),
    length: [...(counts[1]?.values() ?? [])].reduce((sum, count) => sum + count, 0),
  };
}

/** Sum over the lengths of n-grams. */
function similarity(hypothesis: Vector, reference: Vector): number {
  const penalty = Math.exp(-((hypothesis.length - reference.length) ** 2) / (2 * SIGMA ** 2));
  let sum = 0;
  for (const [order, weights] of hypothesis.weights.entries()) {
    let product = 0;
    for (const [ngram, weight] of weights) {
      const other = reference.weights[order]?.get(ngram) ?? 0;
      product += Math.min(weight, other) * other;
    }
    const norm = (hypothesis.norms[order] ?? 0) * (reference.norms[order] ?? 0);
    sum += norm === 0 ? product : product / norm;
  }
  return sum * penalty;
}
