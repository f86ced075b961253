import type { ServiceError } from '../../errors';
import type { ItemBatch, Outcome, ScoredSentence } from '../item';

/** Whatever turns a batch into outcomes: this machine, or a server. */
export interface Scorer {
  /**
   * @returns an outcome for each item, in their order; that of a broken one is its problem.
   * @throws Error when the run cannot go on
   */
  score(batch: ItemBatch): Promise<readonly Outcome[]>;
  close(): Promise<void>;
}

/** What is wrong with an item, and not with the run. */
export function problemOf({ code, detail }: ServiceError): Outcome {
  return { problem: { code, detail } };
}

/** onnxruntime's last digits change with the machine; four decimals and whole pixels do not. */
export function rounded(outcome: Outcome): Outcome {
  const { score, log_probability, alternatives, answers, regions } = outcome;
  return {
    ...outcome,
    ...(score !== undefined && { score: toDecimals(score) }),
    ...(log_probability !== undefined && { log_probability: toDecimals(log_probability) }),
    ...(alternatives && { alternatives: alternatives.map(roundedSentence) }),
    ...(answers && { answers: answers.map((each) => ({ ...each, score: toDecimals(each.score) })) }),
    ...(regions && {
      regions: regions.map((region) => ({
        ...region,
        box: region.box.map(Math.round),
        score: toDecimals(region.score),
      })),
    }),
  };
}

function roundedSentence({ caption, score, log_probability }: ScoredSentence): ScoredSentence {
  return { caption, score: toDecimals(score), log_probability: toDecimals(log_probability) };
}

function toDecimals(value: number): number {
  return Number(value.toFixed(4));
}
