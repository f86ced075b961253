import type { Calibration } from '../onnx/manifest';
import type { Tokenizer } from '../text/tokenizer';
import { calibrate } from './calibration';
import type { GeneratedCaptions, Objects } from './model';
import { objectWeights } from './regions';
import type { Caption } from './results';

export interface CaptionReading {
  /** Of the scores. */
  readonly calibration?: Calibration | undefined;
  /** Adds to each word the weights of this detection's objects. */
  readonly explainFor?: Objects | undefined;
}

/**
 * The sentences of one photo, best first.
 * @param endToken id of `[SEP]`; a caption that the search cut off at its last step has none
 */
export function readCaptions(
  { tokens, logProbabilities, attention }: GeneratedCaptions,
  tokenizer: Tokenizer,
  endToken: number,
  { calibration, explainFor }: CaptionReading = {},
): Caption[] {
  const [, captions = 0, steps = 0, regions = 0] = attention.dims;
  return Array.from({ length: captions }, (_, n) => {
    const ids = Array.from(tokens.data.subarray(n * steps, (n + 1) * steps), Number);
    const end = ids.indexOf(endToken);
    const words = end < 0 ? ids : ids.slice(0, end);
    const length = end < 0 ? steps : end + 1;
    const logProbability = logProbabilities.data
      .subarray(n * steps, n * steps + length)
      .reduce((sum, value) => sum + value, 0);
    return {
      caption: tokenizer.decode(words),
      score: calibrate(Math.exp(logProbability / length), calibration),
      logProbability,
      ...(explainFor && {
        words: words.map((id, step) => {
          const first = (n * steps + step) * regions;
          return {
            word: tokenizer.piece(id),
            weights: objectWeights(attention.data.subarray(first, first + regions), explainFor),
          };
        }),
      }),
    };
  });
}
