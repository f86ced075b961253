import { ServiceError } from '../errors';
import { PixelBudget } from '../image/pixel-budget';
import type { Bundle } from '../onnx/bundle';
import type { SessionOptions } from '../onnx/session';
import { Tokenizer } from '../text/tokenizer';
import { rankAnswers } from './answers';
import { readCaptions } from './captions';
import { EncodingCache } from './encoding-cache';
import { modelId } from './facts';
import { type GeneratedCaptions, VisionLanguageModel } from './model';
import { type EncodedPhoto, PhotoEncoder, type PhotoRequest } from './photo-encoder';
import { objectWeights, readRegions } from './regions';
import type { AnswerResult, CaptionResult, DecodingOptions, PhotoFacts } from './results';
import { Ended, runStage, type StageReport, Stages } from './stage';
import { readVocabulary, type Vocabulary } from './vocabulary';

export interface PredictorOptions {
  readonly session: SessionOptions;
  /** Pixels of the photos that are decoded side by side, those of the largest photo at least. */
  readonly maxPixelsInDecoding: number;
  /** Of regions and prefixes that are kept for further questions about the same photo; 0 keeps none. */
  readonly cacheBytes: number;
}

/** As the schema of the manifest has it. */
const PADDING = 0n;

export type CaptionRequest = PhotoRequest;

export interface AnswerRequest extends PhotoRequest {
  /** At least one. */
  readonly questions: readonly string[];
}

/**
 * Describes photos and answers questions about them, a batch at a time:
 * compressed photo -> pixels -> tags and regions -> prefix -> captions or answers.
 *
 * Results come in the order of the requests. A photo that fails, or whose signal is aborted, ends alone. Of a batch that is
 * given a turn, photos are decoded at once and the graphs run when it comes.
 * @see Fang et al. 2021, arXiv:2104.02096, figure 2
 */
export class Predictor {
  private constructor(
    private readonly bundle: Bundle,
    private readonly model: VisionLanguageModel,
    private readonly encoder: PhotoEncoder,
    private readonly tokenizer: Tokenizer,
    private readonly vocabulary: Vocabulary,
    private readonly stages: Stages,
  ) {}

  /**
   * @param onStage called at the end of each stage
   * @param onDecoded called for each photo of the first stage, however it ended: together they may take long
   * @throws BundleError when a graph of the bundle is not what its manifest says.
   */
  static async load(
    bundle: Bundle,
    { session, maxPixelsInDecoding, cacheBytes }: PredictorOptions,
    onStage: (report: StageReport) => void = () => undefined,
    onDecoded: () => void = () => undefined,
  ): Promise<Predictor> {
    const { name, version, image } = bundle.manifest;
    const model = await VisionLanguageModel.load(bundle, session);
    const stages = new Stages(onStage);
    const cache = new EncodingCache(modelId({ name, version }), cacheBytes);
    return new Predictor(
      bundle,
      model,
      new PhotoEncoder(model, image, new PixelBudget(maxPixelsInDecoding), cache, stages, onDecoded),
      new Tokenizer(await bundle.readJson('tokenizer.json')),
      await readVocabulary(bundle),
      stages,
    );
  }

  async caption(
    requests: readonly CaptionRequest[],
    options: DecodingOptions,
    turn?: Promise<unknown>,
  ): Promise<(CaptionResult | Ended)[]> {
    const { sep } = this.bundle.manifest.special_tokens;
    const { calibration } = this.bundle.manifest.scores.caption;
    return this.stages.run(
      'caption',
      await this.encoder.encode(requests, turn),
      (photos) => this.model.generateCaptions(photos, options),
      (photo, generated) => ({
        ...this.facts(photo, options),
        captions: readCaptions(generated, this.tokenizer, sep, {
          calibration,
          explainFor: options.explain ? photo.objects : undefined,
        }),
      }),
      (_photos, generated) => sum(generated.map((each) => (each instanceof Ended ? 0 : tokensIn(each)))),
    );
  }

  async answer(
    requests: readonly AnswerRequest[],
    options: DecodingOptions,
    turn?: Promise<unknown>,
  ): Promise<(AnswerResult | Ended)[]> {
    const asked = await runStage(
      requests,
      (photos) => photos.map(({ questions }) => this.tokenize(questions)),
      (request, questionIds) => ({ ...request, questionIds }),
    );
    const scores = this.bundle.manifest.scores.answer;
    return this.stages.run(
      'answer',
      await this.encoder.encode(asked, turn),
      (photos) => this.model.answerQuestions(photos),
      (photo, answers) => ({
        ...this.facts(photo, options),
        results: pair(photo.questions, answers).map(([question, { logits, attention }]) => ({
          question,
          answers: rankAnswers(logits.data, this.vocabulary.answers, scores, options.topK),
          ...(options.explain && { weights: objectWeights(attention.data, photo.objects) }),
        })),
      }),
      (photos) => sum(photos.flatMap(({ questionIds }) => questionIds.map((ids) => ids.length))),
    );
  }

  private tokenize(questions: readonly string[]): number[][] | Ended {
    const limit = this.bundle.manifest.limits.question_tokens;
    const questionIds = questions.map((question) => this.tokenizer.encode(question));
    const longest = Math.max(...questionIds.map((ids) => ids.length));
    return longest <= limit
      ? questionIds
      : new Ended(new ServiceError('limit_exceeded', `A question has ${longest} word pieces; ${limit} are the limit.`));
  }

  private facts({ photo, objects, cached }: EncodedPhoto, options: DecodingOptions): PhotoFacts {
    const { width, height } = photo;
    return {
      width,
      height,
      ...((options.regions || options.explain) && { regions: readRegions(objects, photo, this.vocabulary) }),
      ...(cached !== undefined && { cached }),
    };
  }
}

/** Words and ends of all captions of a photo. */
function tokensIn({ tokens }: GeneratedCaptions): number {
  return tokens.data.filter((id) => id !== PADDING).length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** @param answers one for each question */
function pair<A, B>(questions: readonly A[], answers: readonly B[]): [A, B][] {
  return questions.flatMap((question, q): [A, B][] => answers.slice(q, q + 1).map((answer) => [question, answer]));
}
