import { ServiceError } from '../errors';
import type { Devices } from '../inference/devices';
import { modelId, type ModelFacts, precisionOn, type PrecisionWish, type ServedModels } from '../vision-language/facts';

/**
 * The model that a request names, as `name@version` or as `name` (of several versions the first); the first of all when
 * it names none.
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
export function describeModel(model: ModelFacts, devices: Devices, precision: PrecisionWish): object {
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
    devices: devices.names,
    precisions: [...new Set(devices.names.map((device) => precisionOn(device, precision, model.precisions)))],
    warnings: devices.warnings,
  };
}
