import type { JobsOptions } from 'bullmq';
import type { DecodingOptions } from '../../vision-language/results';
import type { Item, Outcome } from '../item';

/** A batch, whole: what a worker repeats after another died is what that one would have done. */
export interface BatchJob {
  readonly items: readonly Pick<Item, 'image' | 'question'>[];
  readonly options: DecodingOptions;
}

/** An outcome for each item, in their order. */
export type BatchResult = readonly Outcome[];

/** Before the keys of everything in the queue's database. */
export const KEY_PREFIX = 'distillvlm';

const DAY_SECONDS = 86_400;

/**
 * Retries outlast a store that restarts (1 + 2 + 4 + 8 s). What then fails is a dead letter: it stays to be looked at.
 * Results that nobody collects are those of a run that never went on.
 */
export const JOB_OPTIONS = {
  attempts: 5,
  backoff: { type: 'exponential', delay: 1_000 },
  removeOnComplete: { age: DAY_SECONDS },
  removeOnFail: { age: 7 * DAY_SECONDS },
} as const satisfies JobsOptions;

/** Workers take jobs of their own bundle only: each bundle has a queue. */
export function queueOf(manifestSha256: string): string {
  return `score-${manifestSha256.slice(0, 16)}`;
}
