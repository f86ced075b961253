import type { Manifest } from '../onnx/manifest';
import { calibrate, sigmoid } from './calibration';
import type { Answer } from './results';

export type AnswerScores = Pick<Manifest['scores']['answer'], 'activation' | 'calibration'>;

/**
 * The answers of one question, best first; equal logits keep the order of the list.
 * @param logits one for each answer of the bundle
 */
export function rankAnswers(
  logits: Float32Array,
  answers: readonly string[],
  { activation, calibration }: AnswerScores,
  topK: number,
): Answer[] {
  const scores = activation === 'sigmoid' ? logits.map(sigmoid) : softmax(logits);
  return answers
    .map((answer, row) => ({ answer, score: scores[row] ?? 0, logit: logits[row] ?? -Infinity }))
    .sort((a, b) => b.logit - a.logit)
    .slice(0, topK)
    .map(({ answer, score }) => ({ answer, score: calibrate(score, calibration) }));
}

function softmax(logits: Float32Array): Float32Array {
  const highest = logits.reduce((max, logit) => Math.max(max, logit), -Infinity);
  const exponentials = logits.map((logit) => Math.exp(logit - highest));
  const total = exponentials.reduce((sum, value) => sum + value, 0);
  return exponentials.map((value) => value / total);
}
