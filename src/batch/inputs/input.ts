import type { InputItem } from '../item';
import type { ObjectStore } from './s3';

/** A collection as a run sees it: its items, in an order that is the same each time they are gone through. */
export interface Input {
  items(): AsyncIterable<InputItem>;
}

export const INPUT_FORMATS = ['photos', 'list', 'list0', 'jsonl', 'csv', 'coco', 'vqa', 'tar'] as const;
export type InputFormat = (typeof INPUT_FORMATS)[number];

export interface InputOptions {
  /** By default by the name of the input, and of a JSON file by what is in it. */
  readonly format?: InputFormat;
  /** Where relative paths of photos start; by default the working folder, for annotation files their own. */
  readonly images?: string;
  /** VQA v2's annotations: the answers of people to the questions. */
  readonly answers?: string;
  /** Where standard input is kept while the run goes on: it is gone through twice. */
  readonly spool: string;
  /** Lists the photos below addresses in S3. */
  readonly store: ObjectStore;
}
