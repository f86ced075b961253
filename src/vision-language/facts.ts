import type { Bundle, BundleSource } from '../onnx/bundle';
import { readManifestFile } from '../onnx/manifest';
import { type Precision, precisionsOf } from '../onnx/precision';
import type { DecodingOptions } from './results';

export { IMAGE_LIMITS } from '../image/limits';
export { precisionOn, type PrecisionWish } from '../onnx/precision';

/** What callers of the model need to know of a bundle, from its manifest. */
export interface ModelFacts extends Required<BundleSource> {
  readonly name: string;
  /** Semantic version. */
  readonly version: string;
  /** Options of a request that names none. */
  readonly defaults: DecodingOptions;
  /** The most that a request may ask. */
  readonly limits: Pick<DecodingOptions, 'numBeams' | 'maxTokens' | 'topK'> & {
    readonly questionCharacters: number;
    /** Word pieces of a question, its two special tokens included. */
    readonly questionTokens: number;
  };
  /** What its graphs can calculate in. */
  readonly precisions: readonly Precision[];
  /** What the scores of captions and answers mean, in the manifest's own words and names. */
  readonly scores: object;
}

/** The bundles that are served; the first answers when a request names none. */
export type ServedModels = readonly [ModelFacts, ...ModelFacts[]];

export function modelId({ name, version }: Pick<ModelFacts, 'name' | 'version'>): string {
  return `${name}@${version}`;
}

/**
 * Of a bundle whose files somebody else verifies.
 * @throws BundleError when the manifest is missing or does not follow its schema.
 */
export async function readModelFacts(directory: string): Promise<ModelFacts> {
  return factsOf({ directory, ...(await readManifestFile(directory)) });
}

export function factsOf(bundle: Pick<Bundle, 'directory' | 'manifest' | 'manifestSha256'>): ModelFacts {
  const { directory, manifestSha256 } = bundle;
  const { name, version, decoding, limits, scores } = bundle.manifest;
  return {
    directory,
    manifestSha256,
    name,
    version,
    defaults: {
      numBeams: decoding.num_beams,
      numCaptions: decoding.num_captions,
      maxTokens: decoding.max_tokens,
      topK: decoding.top_k,
      regions: false,
      explain: false,
    },
    limits: {
      numBeams: limits.num_beams,
      maxTokens: limits.max_tokens,
      topK: limits.top_k,
      questionCharacters: limits.question_characters,
      questionTokens: limits.question_tokens,
    },
    precisions: precisionsOf(bundle.manifest),
    scores,
  };
}
