import type { Bundle } from '../onnx/bundle';
import { Session, type SessionOptions } from '../onnx/session';
import { paddedMatrix, scalar, stack, type Tensor, takeRow, type TensorOf, vector } from '../onnx/tensor';

// Shapes of the graphs, for one photo (their first axis is then 1): H x W pixels, R regions, F region feature size,
// G tags, L layers, A attention heads, P = tags and regions, d head size, N captions, T steps of the search.

/** What the detector sees in one photo. */
export interface Detection {
  /** [1, R, 4] x1, y1, x2, y2, normalised to 0-1 of the upright photo. */
  readonly boxes: TensorOf<'float32'>;
  /** [1, R] rows of the bundle's labels; -1 is a cell of the grid, which has none. */
  readonly labels: TensorOf<'int64'>;
  /** [1, R] rows of the bundle's attributes, -1 none. */
  readonly attributes: TensorOf<'int64'>;
  /** [1, R] */
  readonly scores: TensorOf<'float32'>;
  /** [1, R] 0 where there are fewer regions than R. */
  readonly valid: TensorOf<'bool'>;
  /** [1, R, F] */
  readonly features: TensorOf<'float32'>;
  /** [1, G] rows of the bundle's tag words, -1 none. */
  readonly tags: TensorOf<'int64'>;
}

/** What is left of a detection once its prefix is made: enough to place and name its objects. */
export type Objects = Omit<Detection, 'features' | 'tags'>;

/** Keys and values of a photo's tags and regions in every layer: what captions and questions attend to. */
export interface Prefix {
  /** [1, L, A, P, d] */
  readonly keys: TensorOf<'float32'>;
  /** [1, L, A, P, d] */
  readonly values: TensorOf<'float32'>;
  /** [1, P] */
  readonly mask: TensorOf<'bool'>;
}

/** The captions of one photo, best first. */
export interface GeneratedCaptions {
  /** [1, N, T] words, `[SEP]`, then padding. */
  readonly tokens: TensorOf<'int64'>;
  /** [1, N, T] */
  readonly logProbabilities: TensorOf<'float32'>;
  /** [1, N, T, R] */
  readonly attention: TensorOf<'float32'>;
}

/** The logits of one question's answers. */
export interface AnswerLogits {
  /** [1, answers] */
  readonly logits: TensorOf<'float32'>;
  /** [1, R] */
  readonly attention: TensorOf<'float32'>;
}

/** The four graphs of a bundle, each for a batch of photos that is taken apart again. */
export class VisionLanguageModel {
  private constructor(
    private readonly imageSize: { readonly height: number; readonly width: number },
    private readonly detector: Session,
    private readonly prefix: Session,
    private readonly caption: Session,
    private readonly answer: Session,
  ) {}

  /** @throws BundleError when a graph differs from the manifest. */
  static async load(bundle: Bundle, options: SessionOptions): Promise<VisionLanguageModel> {
    return new VisionLanguageModel(
      bundle.manifest.image,
      await Session.load(bundle, 'detector', options),
      await Session.load(bundle, 'prefix', options),
      await Session.load(bundle, 'caption', options),
      await Session.load(bundle, 'answer', options),
    );
  }

  /** @param photos uint8 [H, W, 3] each */
  async detect(photos: readonly Uint8Array[]): Promise<Detection[]> {
    const { height, width } = this.imageSize;
    const pixels = photos.map((data): Tensor => ({ type: 'uint8', data, dims: [1, height, width, 3] }));
    const outputs = await this.detector.run({ pixels: stack(pixels) });
    return rows({
      boxes: outputs.get('boxes', 'float32'),
      labels: outputs.get('labels', 'int64'),
      attributes: outputs.get('attributes', 'int64'),
      scores: outputs.get('scores', 'float32'),
      valid: outputs.get('valid', 'bool'),
      features: outputs.get('features', 'float32'),
      tags: outputs.get('tags', 'int64'),
    });
  }

  async encodePrefixes(detections: readonly Detection[]): Promise<Prefix[]> {
    const outputs = await this.prefix.run({
      boxes: stack(detections.map(({ boxes }) => boxes)),
      valid: stack(detections.map(({ valid }) => valid)),
      features: stack(detections.map(({ features }) => features)),
      tags: stack(detections.map(({ tags }) => tags)),
    });
    return rows({
      keys: outputs.get('prefix_keys', 'float32'),
      values: outputs.get('prefix_values', 'float32'),
      mask: outputs.get('prefix_mask', 'bool'),
    });
  }

  async generateCaptions(
    photos: readonly { readonly prefix: Prefix }[],
    search: { readonly numBeams: number; readonly numCaptions: number; readonly maxTokens: number },
  ): Promise<GeneratedCaptions[]> {
    const outputs = await this.caption.run({
      ...prefixInputs(photos),
      num_beams: scalar(search.numBeams),
      num_captions: scalar(search.numCaptions),
      max_tokens: scalar(search.maxTokens),
    });
    return rows({
      tokens: outputs.get('tokens', 'int64'),
      logProbabilities: outputs.get('log_probabilities', 'float32'),
      attention: outputs.get('attention', 'float32'),
    });
  }

  /** @returns for each photo an entry for each of its questions. */
  async answerQuestions(
    photos: readonly { readonly prefix: Prefix; readonly questionIds: readonly (readonly number[])[] }[],
  ): Promise<AnswerLogits[][]> {
    const outputs = await this.answer.run({
      ...prefixInputs(photos),
      question_ids: paddedMatrix(photos.flatMap(({ questionIds }) => questionIds)),
      photo_of_question: vector(photos.flatMap(({ questionIds }, photo) => questionIds.map(() => photo))),
    });
    const answers = rows({
      logits: outputs.get('logits', 'float32'),
      attention: outputs.get('attention', 'float32'),
    });
    return photos.map(({ questionIds }) => answers.splice(0, questionIds.length));
  }
}

function prefixInputs(photos: readonly { readonly prefix: Prefix }[]): Record<string, Tensor> {
  return {
    prefix_keys: stack(photos.map(({ prefix }) => prefix.keys)),
    prefix_values: stack(photos.map(({ prefix }) => prefix.values)),
    prefix_mask: stack(photos.map(({ prefix }) => prefix.mask)),
  };
}

/** Takes a batch of named tensors apart into a record for each of its rows. */
function rows<T extends Record<keyof T, Tensor>>(batch: T): T[] {
  const names = Object.keys(batch) as (keyof T)[];
  const counts = names.map((name) => batch[name].dims[0] ?? 0);
  return Array.from({ length: Math.max(...counts) }, (_, r) => {
    const row = { ...batch };
    for (const name of names) {
      row[name] = takeRow(batch[name], r);
    }
    return row;
  });
}
