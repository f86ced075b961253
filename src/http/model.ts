import { ServiceError } from '../errors';
import type { ModelFacts } from '../vision-language/facts';

/** The bundles that are served; the first answers when a request names none. */
export type ServedModels = readonly [ModelFacts, ...ModelFacts[]];

export function modelId({ name, version }: ModelFacts): string {
  return `${name}@${version}`;
}

/**
 * The model that a request names, as `name` or `name@version`; the first when it names none.
 * @throws ServiceError `model_not_found`
 */
export function findModel(models: ServedModels, asked: string | undefined): ModelFacts {
  const found = asked === undefined ? models[0] : models.find((model) => [model.name, modelId(model)].includes(asked));
  if (found === undefined) {
    throw new ServiceError('model_not_found', `These models are served: ${models.map(modelId).join(', ')}.`);
  }
  return found;
}

/** As `GET /models` shows it. */
export function describeModel(model: ModelFacts): object {
  const { name, version, defaults, limits, scores } = model;
  return {
    id: modelId(model),
    name,
    version,
    tasks: ['caption', 'vqa'],
    limits: {
      num_beams: limits.numBeams,
      max_tokens: limits.maxTokens,
      top_k: limits.topK,
      question_characters: limits.questionCharacters,
      question_tokens: limits.questionTokens,
    },
    defaults: {
      num_beams: defaults.numBeams,
      num_captions: defaults.numCaptions,
      max_tokens: defaults.maxTokens,
      top_k: defaults.topK,
    },
    scores,
  };
}
