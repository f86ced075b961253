import { type Settings, sharedCores } from '../../config';
import { createInferenceService } from '../../inference/create-service';
import type { InferenceService } from '../../inference/service';
import { createLogger } from '../../logger';

/**
 * Inference processes as scoring wants them, ready for work.
 * @param maxBatch items that share a run of the graphs at most
 */
export async function createScoringService(
  bundle: string,
  processes: number,
  maxBatch: number,
  settings: Settings,
): Promise<InferenceService> {
  const service = createInferenceService({
    bundle,
    processes,
    threads: sharedCores(processes),
    maxBatch,
    stageTimeoutMs: settings.stageTimeoutMs,
    // A photo is asked everything at once, and once.
    cacheBytes: 0,
    maxPixelsInDecoding: settings.decodeMegapixels * 1e6,
    logger: createLogger('error'),
  });
  await service.ready();
  return service;
}
