import { ServiceError } from '../errors';
import type { DecodingDefaults, Task } from './inference-request';

/** A bundle as clients see it. */
export interface ServedModel {
  readonly name: string;
  readonly version: string;
  readonly tasks: readonly Task[];
  /** WordPieces of a question. */
  readonly questionTokens: number;
  readonly defaults: DecodingDefaults;
  /** What `score` means, in the manifest's own words and names. */
  readonly scores: object;
}

export function modelId({ name, version }: ServedModel): string {
  return `${name}@${version}`;
}

/**
 * The model that a request names, as `name` or `name@version`; the first when it names none.
 * @throws ServiceError `model_not_found`
 */
export function findModel(models: readonly [ServedModel, ...ServedModel[]], asked: string | undefined): ServedModel {
  const found = asked === undefined ? models[0] : models.find((model) => [model.name, modelId(model)].includes(asked));
  if (found === undefined) {
    throw new ServiceError('model_not_found', `These models are served: ${models.map(modelId).join(', ')}.`);
  }
  return found;
}

/** As `GET /models` shows it. */
export function describeModel(model: ServedModel): object {
  const { numBeams, numCaptions, maxTokens, topK } = model.defaults;
  return {
    id: modelId(model),
    name: model.name,
    version: model.version,
    tasks: model.tasks,
    limits: { question_tokens: model.questionTokens },
    defaults: { num_beams: numBeams, num_captions: numCaptions, max_tokens: maxTokens, top_k: topK },
    scores: model.scores,
  };
}
