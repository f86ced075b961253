import type { RequestListener } from 'node:http';
import path from 'node:path';
import { PROJECT_ROOT, type Settings } from './config';
import { createAdminApp } from './http/admin-app';
import { ApiKeys } from './http/api-keys';
import { SLOWEST_PACE } from './http/body-pace';
import { Door } from './http/door';
import { createApp } from './http/express-app';
import { Metrics } from './http/metrics';
import { ApiDocument } from './http/openapi';
import { PhotoFetcher } from './http/photo-fetcher';
import { HttpServer } from './http/server';
import { Tracing } from './http/tracing';
import { Admission } from './inference/admission';
import { createInferenceService } from './inference/create-service';
import { Devices } from './inference/devices';
import { DrainRate } from './inference/drain-rate';
import { OneAtATime } from './inference/one-at-a-time';
import { ReloadableService } from './inference/reloadable-service';
import type { Logger, LogOutput } from './logger';
import { modelId, type ServedModels } from './vision-language/facts';

/** All that ending may take: what a container's supervisor allows, less a margin, before it kills. */
const CLOSE_MS = 20_000;
/** Of it, what the inference processes keep for ending themselves, and a collector of traces for the last ones. */
const CLOSE_INFERENCE_MS = 1_500;
/** Of probes, of who is refused, and idle ones. */
const OTHER_CONNECTIONS = 1_000;
/** Who asks at the end is still told that it is the end: longer than a request is on its way. */
const CLOSE_GRACE_MS = 250;

/** A server that answers; requests that come before inference is ready wait for it. */
export interface RunningApp {
  readonly models: readonly string[];
  readonly port: number;
  /** Absent where there is none. */
  readonly adminPort: number | undefined;
  /** Resolves when inference is ready; rejects when the bundles cannot be served or the device is not there. */
  readonly ready: Promise<void>;
  /** Reads bundles and keys again; where they are not right, those that there are stay. */
  reload(): Promise<ServedModels>;
  /** Refuses new work, finishes what is in flight (20 s at most) and ends the inference processes. */
  close(): Promise<void>;
}

/**
 * Verifies the bundles, starts inference and listens.
 * @throws BundleError when a file of a bundle is missing or changed, SettingsError when the keys cannot be read, or the
 *   system's error when it cannot listen
 */
export async function startApp(settings: Settings, logger: Logger, output: LogOutput): Promise<RunningApp> {
  const keys = await readKeys(settings.apiKeysFile);
  const adminKeys = await readKeys(settings.adminKeysFile);
  const folders = [settings.modelDir, ...settings.moreModelDirs];
  const service = await ReloadableService.open(folders, (models) => startInference(models, settings, logger));
  const limits = {
    units: settings.maxQueue,
    bytes: settings.maxQueueMegabytes * 1e6,
    unitsInWork: settings.maxBatch * settings.inferenceProcesses,
  };
  const admission = new Admission(limits, DrainRate.of(service.events));
  const metrics = new Metrics(service, admission, output);
  const { otlpEndpoint: endpoint, otlpHeaders: headers } = settings;
  const tracing = endpoint === '' ? new Tracing() : Tracing.exporting({ endpoint, headers });
  const closing = new AbortController();
  const options = {
    ...settings,
    service,
    admission,
    models: () => service.models,
    devices: Devices.of(service.events),
    document: new ApiDocument(path.join(PROJECT_ROOT, 'openapi.yaml')),
    logger,
    metrics,
    openMetrics: settings.metrics === 'open',
    tracing,
    keys,
    sharesPhotos: settings.cacheMegabytes > 0,
    slowestPace: SLOWEST_PACE,
    fetcher: new PhotoFetcher({ hosts: settings.imageUrlHosts }),
    closing: closing.signal,
  };
  const door = new Door(createApp(options), options);
  const reloading = new OneAtATime(async () => {
    const acceptKeys = await ApiKeys.readAgain(...[keys, adminKeys].filter((each) => each !== undefined));
    const models = await service.reload();
    acceptKeys();
    logger.info({ event: 'reloaded', models: models.map(modelId) });
    return models;
  });
  const reload = (): Promise<ServedModels> => reloading.run();
  const admin = adminKeys && createAdminApp({ keys: adminKeys, reload, metrics, tracing, logger });
  const servers = await listen(door.listener, admin, settings).catch(async (error: unknown) => {
    await service.close(0);
    throw error;
  });
  return {
    models: service.models.map(modelId),
    port: servers[0].port,
    adminPort: servers[1]?.port,
    ready: service.ready(),
    reload,
    close: async () => {
      logger.info({ event: 'closing' });
      closing.abort();
      await Promise.all(servers.map((server) => server.close(CLOSE_MS - CLOSE_INFERENCE_MS, CLOSE_GRACE_MS)));
      const exported = tracing.close().catch((error: unknown) => {
        logger.warn({ event: 'traces_not_exported', err: error });
      });
      await Promise.all([service.close(CLOSE_INFERENCE_MS), exported]);
    },
  };
}

/** The server that answers and, where it has keys and a port, the administrators'; neither where one of them cannot. */
async function listen(
  answering: RequestListener,
  admin: RequestListener | undefined,
  { host, port, adminHost, adminPort, maxQueue }: Settings,
): Promise<[HttpServer, ...HttpServer[]]> {
  // All that both priorities let in may come by connections of their own.
  const server = await HttpServer.listen(answering, { host, port, maxConnections: 2 * maxQueue + OTHER_CONNECTIONS });
  if (admin === undefined || adminPort === 0) {
    return [server];
  }
  try {
    const options = { host: adminHost, port: adminPort, maxConnections: OTHER_CONNECTIONS };
    return [server, await HttpServer.listen(admin, options)];
  } catch (error) {
    await server.close(0);
    throw error;
  }
}

function startInference(models: ServedModels, settings: Settings, logger: Logger) {
  return createInferenceService({
    bundle: models,
    device: settings.device,
    precision: settings.precision,
    processes: settings.inferenceProcesses,
    threads: settings.intraOpThreads,
    maxBatch: settings.maxBatch,
    batchWaitMs: settings.batchWaitMs,
    stageTimeoutMs: settings.stageTimeoutMs,
    cacheBytes: settings.cacheMegabytes * 1e6,
    maxPixelsInDecoding: settings.decodeMegapixels * 1e6,
    logger,
  });
}

async function readKeys(file: string): Promise<ApiKeys | undefined> {
  return file === '' ? undefined : ApiKeys.read(file);
}
