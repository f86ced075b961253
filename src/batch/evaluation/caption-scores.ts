import { bleu } from './bleu';
import { ciderD } from './cider';
import { tokenize } from './ptb-tokenizer';
import { rougeL } from './rouge';

export interface Captioned {
  readonly caption: string;
  /** At least one. */
  readonly references: readonly string[];
}

/** Scores in points: 100 times pycocoevalcap's numbers. */
export interface CaptionScores {
  readonly cider_d: number;
  /** BLEU-1 to BLEU-4 over the whole collection. */
  readonly bleu: readonly number[];
  readonly rouge_l: number;
  /** CIDEr-D of each photo, in the order given. */
  readonly cider_d_of_photo: readonly number[];
}

/**
 * The caption metrics of the COCO evaluation, equal to pycocoevalcap's to 1e-4 (golden: test/golden/scores.json).
 * @param photos at least one
 */
export function captionScores(photos: readonly Captioned[]): CaptionScores {
  const tokenized = photos.map(({ caption, references }) => ({
    words: tokenize(caption),
    references: references.map(tokenize),
  }));
  const ciders = ciderD(tokenized);
  const rouges = tokenized.map(({ words, references }) => rougeL(words, references));
  return {
    cider_d: 100 * mean(ciders),
    bleu: bleu(tokenized).map((score) => 100 * score),
    rouge_l: 100 * mean(rouges),
    cider_d_of_photo: ciders.map((score) => 100 * score),
  };
}

/** Tokens of one photo. */
export interface Tokenized {
  readonly words: readonly string[];
  readonly references: readonly (readonly string[])[];
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
