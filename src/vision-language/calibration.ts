import type { Calibration } from '../onnx/manifest';

/**
 * The score as the bundle calibrated it, in 0-1; without a calibration as it is. Order is kept.
 * @param score in 0-1
 * @see Platt 1999, "Probabilistic outputs for support vector machines"
 */
export function calibrate(score: number, calibration: Calibration | undefined): number {
  if (calibration === undefined) {
    return score;
  }
  const logOdds = Math.log(score / (1 - score));
  return sigmoid(calibration.slope * logOdds + calibration.intercept);
}

export function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
