import { gpuCount, type Settings, sharedCores } from '../../config';
import { createInferenceService } from '../../inference/create-service';
import { Devices } from '../../inference/devices';
import type { InferenceService } from '../../inference/service';
import { createLogger } from '../../logger';

/** Batches that a process decodes beside the one that it works on. */
export const AHEAD = 1;

/**
 * Inference processes as scoring wants them, ready for work.
 * @param maxBatch items that share a run of the graphs at most
 * @param warn told where there is a GPU and `auto` could not use it
 */
export async function createScoringService(
  bundle: string,
  processes: number,
  maxBatch: number,
  settings: Settings,
  warn: (warning: string) => void,
): Promise<InferenceService> {
  const service = createInferenceService({
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
    logger: createLogger('error'),
  });
  const devices = Devices.of(service.events);
  await service.ready();
  if (gpuCount() > 0) {
    devices.warnings.forEach(warn);
  }
  return service;
}
