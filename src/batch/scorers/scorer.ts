import type { ServiceError } from '../../errors';
import type { ItemBatch, Outcome } from '../item';

/** Whatever turns a batch into outcomes: this machine, a server, a queue. */
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

/** onnxruntime's last digits change with the machine; these do not. */
export function rounded(value: number): number {
  return Number(value.toFixed(4));
}
