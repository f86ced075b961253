import { type Settings, sharedCores } from '../../config';
import { createInferenceService } from '../../inference/create-service';
import type { InferenceService } from '../../inference/service';
import type { Logger } from '../../logger';

/** Batches that a process decodes beside the one that it works on. */
export const AHEAD = 1;

/**
 * Starts inference processes as scoring wants them.
 * @param maxBatch items that share a run of the graphs at most
 */
export function startScoringService(
  bundle: string,
  processes: number,
  maxBatch: number,
  settings: Settings,
  logger: Logger,
): InferenceService {
  return createInferenceService({
    bundle,
    device: settings.device,
    precision: settings.precision,
    processes,
    threads: sharedCores(processes),
    maxBatch,
    // Where the graphs run on a GPU, and with one process on many cores, nobody else decodes meanwhile.
    ahead: AHEAD,
    stageTimeoutMs: settings.stageTimeoutMs,
    // A photo is asked everything at once, and once.
    cacheBytes: 0,
    maxPixelsInDecoding: settings.decodeMegapixels * 1e6,
    logger,
  });
}
