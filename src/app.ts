import path from 'node:path';
import { PROJECT_ROOT, type Settings } from './config';
import { SLOWEST_PACE } from './http/body-pace';
import { createApp } from './http/express-app';
import { modelId } from './http/model';
import { ApiDocument } from './http/openapi';
import { HttpServer } from './http/server';
import { Admission } from './inference/admission';
import { createInferenceService } from './inference/create-service';
import { DrainRate } from './inference/drain-rate';
import type { Logger } from './logger';
import { Bundle } from './onnx/bundle';
import { readModelFacts } from './vision-language/facts';

/** All that ending may take: what a container's supervisor allows, less a margin, before it kills. */
const CLOSE_MS = 20_000;
/** Of it, what the inference processes keep for ending themselves. */
const CLOSE_INFERENCE_MS = 1_500;

/** A server that answers; requests that come before inference is ready wait for it. */
export interface RunningApp {
  readonly model: string;
  readonly port: number;
  /** Resolves when inference is ready; rejects when the bundle cannot be served. */
  readonly ready: Promise<void>;
  /** Refuses new work, finishes what is in flight (20 s at most) and ends the inference processes. */
  close(): Promise<void>;
}

/**
 * Verifies the bundle, starts inference and listens.
 * @throws BundleError when a file of the bundle is missing or changed, or the system's error when it cannot listen
 */
export async function startApp(settings: Settings, logger: Logger): Promise<RunningApp> {
  // Every inference process verifies the bundle too; here a bad one is refused before anybody is answered.
  await Bundle.open(settings.modelDir);
  const model = await readModelFacts(settings.modelDir);
  const service = createInferenceService({
    bundle: settings.modelDir,
    processes: settings.inferenceProcesses,
    threads: settings.intraOpThreads,
    maxBatch: settings.maxBatch,
    batchWaitMs: settings.batchWaitMs,
    stageTimeoutMs: settings.stageTimeoutMs,
    cacheBytes: settings.cacheMegabytes * 1e6,
    maxPixelsInDecoding: settings.decodeMegapixels * 1e6,
    logger,
  });
  const limits = {
    units: settings.maxQueue,
    bytes: settings.maxQueueMegabytes * 1e6,
    unitsInWork: settings.maxBatch * settings.inferenceProcesses,
  };
  const closing = new AbortController();
  const app = createApp({
    service,
    admission: new Admission(limits, DrainRate.of(service.events)),
    models: [model],
    document: new ApiDocument(path.join(PROJECT_ROOT, 'openapi.yaml')),
    logger,
    sharesPhotos: settings.cacheMegabytes > 0,
    requestTimeoutMs: settings.requestTimeoutMs,
    slowestPace: SLOWEST_PACE,
    rateLimit: settings.rateLimit,
    trustedProxies: settings.trustedProxies,
    validateResponses: settings.validateResponses,
    closing: closing.signal,
  });
  let server: HttpServer;
  try {
    server = await HttpServer.listen(app, settings.host, settings.port);
  } catch (error) {
    await service.close(0);
    throw error;
  }
  return {
    model: modelId(model),
    port: server.port,
    ready: service.ready(),
    close: async () => {
      logger.info({ event: 'closing' });
      closing.abort();
      await server.close(CLOSE_MS - CLOSE_INFERENCE_MS);
      await service.close(CLOSE_INFERENCE_MS);
    },
  };
}
