import type { Progress } from './progress';

/** What became of a run, in the names of its JSON. */
export interface Summary {
  readonly output: string;
  readonly items: number;
  readonly scored: number;
  readonly failed: number;
  readonly skipped: number;
  /** Of these, done by an earlier run. */
  readonly resumed: number;
  readonly mean_score?: number;
  readonly seconds: number;
  readonly per_second: number;
}

export function summaryOf(output: string, progress: Progress): Summary {
  const { total, scored, failed, skipped, resumed, meanConfidence, seconds, perSecond } = progress;
  return {
    output,
    items: total,
    scored,
    failed,
    skipped,
    resumed,
    ...(meanConfidence !== undefined && { mean_score: Number(meanConfidence.toFixed(4)) }),
    seconds: Number(seconds.toFixed(1)),
    per_second: Number(perSecond.toFixed(1)),
  };
}
