import type { Settings } from '../config';
import { messageOf } from '../errors';
import { createInferenceService } from '../inference/create-service';
import { readyOrRefused } from '../inference/ready-or-refused';
import type { Logger } from '../logger';
import { Bundle } from '../onnx/bundle';
import { modelId, precisionOn, readModelFacts } from '../vision-language/facts';
import type { Finding } from './host';

/** Verifies a bundle: its manifest, and every file's size and checksum. */
export async function examineBundle(folder: string): Promise<Finding> {
  const name = `bundle ${folder}`;
  try {
    const { manifest } = await Bundle.open(folder);
    return { name, value: `${modelId(manifest)}, ${manifest.files.length} files as the manifest has them` };
  } catch (error) {
    return { name, value: messageOf(error), isFault: true };
  }
}

/** Devices worth a trial: the CPU always, CUDA where it may be, and what the settings ask for. */
export function devicesToTry(wish: string, hasCuda: boolean): string[] {
  return [...new Set(['cpu', ...(hasCuda ? ['cuda:0'] : []), ...(wish === 'auto' ? [] : [wish])])];
}

/** Captions a photo on a device, twice: the first run allocates what the second is timed with. */
export async function tryDevice(
  device: string,
  image: Uint8Array,
  settings: Settings,
  logger: Logger,
): Promise<Finding> {
  const name = `caption on ${device}`;
  const service = createInferenceService({
    bundle: settings.modelDir,
    device,
    precision: settings.precision,
    processes: 1,
    threads: settings.intraOpThreads,
    maxBatch: 1,
    stageTimeoutMs: settings.stageTimeoutMs,
    maxPixelsInDecoding: settings.decodeMegapixels * 1e6,
    cacheBytes: 0,
    logger,
  });
  try {
    await readyOrRefused(service);
    const { defaults: options, precisions } = await readModelFacts(settings.modelDir);
    const job = { task: 'caption', image, options, priority: 'interactive' } as const;
    await service.run(job);
    const startMs = performance.now();
    const { captions } = await service.run(job);
    const [best] = captions;
    const tookMs = Math.round(performance.now() - startMs);
    const precision = precisionOn(device, settings.precision, precisions);
    const logProbability = best?.logProbability.toFixed(3);
    return { name, value: `"${best?.caption}", log-probability ${logProbability}, ${tookMs} ms in ${precision}` };
  } catch (error) {
    return { name, value: messageOf(error), isFault: device === settings.device || device === 'cpu' };
  } finally {
    await service.close(0);
  }
}
