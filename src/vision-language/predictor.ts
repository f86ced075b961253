import { ServiceError } from '../errors';
import { type DecodedPhoto, decodePhoto } from '../image/decode';
import { PixelBudget } from '../image/pixel-budget';
import { Bundle } from '../onnx/bundle';
import type { SessionOptions } from '../onnx/session';
import { Tokenizer } from '../text/tokenizer';
import { rankAnswers } from './answers';
import { readCaptions } from './captions';
import { type Detection, VisionLanguageModel } from './model';
import { objectWeights, readRegions } from './regions';
import type { AnswerResult, CaptionResult, DecodingOptions, PhotoFacts } from './results';
import { Ended, runStage, type StageName, type StageReport } from './stage';
import { readVocabulary, type Vocabulary } from './vocabulary';

export interface PredictorOptions {
  readonly session: SessionOptions;
  /** Pixels of the photos that are decoded side by side, those of the largest photo at least. */
  readonly maxPixelsInDecoding: number;
}

export interface CaptionRequest {
  /** The compressed file. */
  readonly image: Uint8Array;
  readonly signal: AbortSignal;
}

export interface AnswerRequest extends CaptionRequest {
  /** At least one. */
  readonly questions: readonly string[];
}

/**
 * Describes photos and answers questions about them, a batch at a time:
 * compressed photo -> pixels -> tags and regions -> prefix -> captions or answers.
 *
 * Results come in the order of the requests. A photo that fails, or whose signal is aborted, ends alone.
 * @see Fang et al. 2021, arXiv:2104.02096, figure 2
 */
export class Predictor {
  private constructor(
    private readonly bundle: Bundle,
    private readonly model: VisionLanguageModel,
    private readonly tokenizer: Tokenizer,
    private readonly vocabulary: Vocabulary,
    private readonly pixelBudget: PixelBudget,
    private readonly onStage: (report: StageReport) => void,
  ) {}

  /**
   * @param onStage called at the end of each stage
   * @throws BundleError when a file or a graph of the bundle is not what its manifest says.
   */
  static async load(
    directory: string,
    { session, maxPixelsInDecoding }: PredictorOptions,
    onStage: (report: StageReport) => void = () => undefined,
  ): Promise<Predictor> {
    const bundle = await Bundle.open(directory);
    return new Predictor(
      bundle,
      await VisionLanguageModel.load(bundle, session),
      new Tokenizer(await bundle.readJson('tokenizer.json')),
      await readVocabulary(bundle),
      new PixelBudget(maxPixelsInDecoding),
      onStage,
    );
  }

  async caption(requests: readonly CaptionRequest[], options: DecodingOptions): Promise<(CaptionResult | Ended)[]> {
    const { sep } = this.bundle.manifest.special_tokens;
    return this.stage(
      'caption',
      await this.encode(requests),
      (photos) => this.model.generateCaptions(photos, options),
      ({ photo, detection }, generated) => ({
        ...this.facts(photo, detection, options),
        captions: readCaptions(generated, this.tokenizer, sep, options.explain ? detection : undefined),
      }),
    );
  }

  async answer(requests: readonly AnswerRequest[], options: DecodingOptions): Promise<(AnswerResult | Ended)[]> {
    const asked = await runStage(
      requests,
      (photos) => photos.map(({ questions }) => this.tokenize(questions)),
      (request, questionIds) => ({ ...request, questionIds }),
    );
    const { activation } = this.bundle.manifest.scores.answer;
    return this.stage(
      'answer',
      await this.encode(asked),
      (photos) => this.model.answerQuestions(photos),
      ({ questions, photo, detection }, answers) => ({
        ...this.facts(photo, detection, options),
        results: pair(questions, answers).map(([question, { logits, attention }]) => ({
          question,
          answers: rankAnswers(logits.data, this.vocabulary.answers, activation, options.topK),
          ...(options.explain && { weights: objectWeights(attention.data, detection) }),
        })),
      }),
    );
  }

  /** The half that both tasks share: what the detector sees in each photo, and its keys and values in every layer. */
  private async encode<Request extends CaptionRequest>(requests: readonly (Request | Ended)[]) {
    const decoded = await this.stage(
      'decode',
      requests,
      (photos) => Promise.all(photos.map(({ image }) => this.decode(image))),
      (request, photo) => ({ ...request, photo }),
    );
    const detected = await this.stage(
      'detect',
      decoded,
      (photos) => this.model.detect(photos.map(({ photo }) => photo.pixels)),
      (request, detection) => ({ ...request, detection }),
    );
    return this.stage(
      'prefix',
      detected,
      (photos) => this.model.encodePrefixes(photos.map(({ detection }) => detection)),
      (request, prefix) => ({ ...request, prefix }),
    );
  }

  /** `runStage` that tells what it took. */
  private stage<Photo extends { readonly signal: AbortSignal }, Result extends object, Next>(
    name: StageName,
    batch: readonly (Photo | Ended)[],
    run: (photos: readonly Photo[]) => Promise<readonly (Result | Ended)[]>,
    join: (photo: Photo, result: Result) => Next,
  ): Promise<(Next | Ended)[]> {
    const timed = async (photos: readonly Photo[]): Promise<readonly (Result | Ended)[]> => {
      const startMs = performance.now();
      const results = await run(photos);
      this.onStage({ stage: name, photos: photos.length, ms: performance.now() - startMs });
      return results;
    };
    return runStage(batch, timed, join);
  }

  private async decode(image: Uint8Array): Promise<DecodedPhoto | Ended> {
    try {
      return await decodePhoto(image, this.bundle.manifest.image, this.pixelBudget);
    } catch (error) {
      if (error instanceof ServiceError) {
        return new Ended(error);
      }
      throw error;
    }
  }

  private tokenize(questions: readonly string[]): number[][] | Ended {
    const limit = this.bundle.manifest.limits.question_tokens;
    const questionIds = questions.map((question) => this.tokenizer.encode(question));
    const longest = Math.max(...questionIds.map((ids) => ids.length));
    return longest <= limit
      ? questionIds
      : new Ended(new ServiceError('limit_exceeded', `A question has ${longest} word pieces; ${limit} are the limit.`));
  }

  private facts(photo: DecodedPhoto, detection: Detection, options: DecodingOptions): PhotoFacts {
    const { width, height } = photo;
    return {
      width,
      height,
      ...((options.regions || options.explain) && { regions: readRegions(detection, photo, this.vocabulary) }),
    };
  }
}

/** @param answers one for each question */
function pair<A, B>(questions: readonly A[], answers: readonly B[]): [A, B][] {
  return questions.flatMap((question, q): [A, B][] => answers.slice(q, q + 1).map((answer) => [question, answer]));
}
