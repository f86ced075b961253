import path from 'node:path';
import type { Logger } from '../logger';
import type { BundleSource } from '../onnx/bundle';
import type { PrecisionWish } from '../onnx/precision';
import { Scheduler } from './scheduler';
import type { InferenceService } from './service';

export interface InferenceOptions {
  /** Folder of the bundle, or several bundles, the first of which answers jobs that name none; every process verifies them. */
  readonly bundle: string | readonly BundleSource[];
  /** auto, cpu (the default), cuda, cuda:<number> or webgpu. */
  readonly device?: string;
  /** By default auto. */
  readonly precision?: PrecisionWish;
  /** At least 1; each holds every session of the bundle. */
  readonly processes: number;
  /** Threads of one graph run, at least 1. */
  readonly threads: number;
  /** Pairs of photo and question that share a run of the graphs, at least 1; a caption counts as one. */
  readonly maxBatch: number;
  /** How long a job waits for others to share its batch while a process is free; by default not at all. */
  readonly batchWaitMs?: number;
  /** Batches that a process decodes while it runs another; by default none. */
  readonly ahead?: number;
  /** What no stage of a batch of 8 takes, of decoding no photo; one that does has hung, and costs the process. */
  readonly stageTimeoutMs: number;
  /** The same for loading the bundles; by default 5 minutes. */
  readonly loadTimeoutMs?: number;
  /** Pixels of the photos that a process decodes side by side, those of the largest photo at least. */
  readonly maxPixelsInDecoding: number;
  /** Of regions and prefixes that each process keeps for further questions about the same photo; 0 keeps none. */
  readonly cacheBytes: number;
  readonly logger: Logger;
  /** The compiled entry of a process, where it is not beside this file. */
  readonly childEntry?: string;
}

/** Starts the inference processes; jobs may be given at once and wait until one is ready. */
export function createInferenceService(options: InferenceOptions): InferenceService {
  const {
    bundle,
    device = 'cpu',
    precision = 'auto',
    processes,
    threads,
    maxBatch,
    batchWaitMs = 0,
    ahead = 0,
    stageTimeoutMs,
    loadTimeoutMs,
    maxPixelsInDecoding,
    cacheBytes,
    logger,
  } = options;
  const bundles = typeof bundle === 'string' ? [{ directory: bundle }] : bundle;
  return new Scheduler({
    bundles,
    // What is kept is of all bundles together.
    predictor: { maxPixelsInDecoding, cacheBytes: Math.floor(cacheBytes / bundles.length) },
    threads,
    device,
    precision,
    entry: options.childEntry ?? path.join(__dirname, 'child.js'),
    stageTimeoutMs,
    loadTimeoutMs,
    processes,
    maxBatch,
    batchWaitMs,
    ahead,
    logger,
  });
}
