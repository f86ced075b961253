import type { Bundle } from '../onnx/bundle';
import { BundleError } from '../onnx/manifest';

/** The words that the graphs' numbers stand for. */
export interface Vocabulary {
  readonly labels: readonly string[];
  readonly attributes: readonly string[];
  /** One for each logit of `answer.onnx`. */
  readonly answers: readonly string[];
}

/** @throws BundleError when a list is not a list of strings. */
export async function readVocabulary(bundle: Bundle): Promise<Vocabulary> {
  const names = (await bundle.readJson('labels.json')) as Record<string, unknown>;
  return {
    labels: words(names['labels'], 'labels of labels.json'),
    attributes: words(names['attributes'], 'attributes of labels.json'),
    answers: words(await bundle.readJson('answers.json'), 'answers.json'),
  };
}

function words(value: unknown, what: string): string[] {
  if (!Array.isArray(value) || !value.every((word) => typeof word === 'string')) {
    throw new BundleError(`Expected ${what} to be a list of strings.`);
  }
  return value;
}
