import path from 'node:path';
import type { Logger } from '../logger';
import { Scheduler } from './scheduler';
import type { InferenceService } from './service';

export interface InferenceOptions {
  /** Folder of the bundle; every process verifies it. */
  readonly bundle: string;
  /** At least 1; each holds every session of the bundle. */
  readonly processes: number;
  /** Threads of one graph run, at least 1. */
  readonly threads: number;
  /** Pairs of photo and question that share a run of the graphs, at least 1; a caption counts as one. */
  readonly maxBatch: number;
  /** How long a job waits for others to share its batch while a process is free; by default not at all. */
  readonly batchWaitMs?: number;
  /** What no stage of a batch takes; one that does has hung, and costs the process. */
  readonly stageTimeoutMs: number;
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
    processes,
    threads,
    maxBatch,
    batchWaitMs = 0,
    stageTimeoutMs,
    maxPixelsInDecoding,
    cacheBytes,
    logger,
  } = options;
  return new Scheduler({
    bundle,
    predictor: { session: { threads, executionProviders: ['cpu'] }, maxPixelsInDecoding, cacheBytes },
    entry: options.childEntry ?? path.join(__dirname, 'child.js'),
    stageTimeoutMs,
    processes,
    maxBatch,
    batchWaitMs,
    logger,
  });
}
