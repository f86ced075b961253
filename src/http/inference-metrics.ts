import type { EventEmitter } from 'node:events';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { InferenceEvents } from '../inference/events';

/** Seconds: from decoding a thumbnail to a large batch on a busy machine. */
const STAGE_BUCKETS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];
const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

type Events = EventEmitter<InferenceEvents>;

/** Counts and times what inference tells of itself. */
export function observeInference(events: Events, registry: Registry): void {
  observeBatches(events, [registry]);
  observePhotos(events, [registry]);
  observeProcesses(events, [registry]);
}

/** What a batch holds, and how long each stage of it takes. */
function observeBatches(events: Events, registers: Registry[]): void {
  const stages = new Histogram({
    name: 'distillvlm_stage_duration_seconds',
    help: "Stages of inference: a photo's wait for a process, then decode, detect, prefix, caption and answer of a batch",
    labelNames: ['stage'] as const,
    buckets: STAGE_BUCKETS,
    registers,
  });
  const tokens = new Counter({
    name: 'distillvlm_tokens_total',
    help: 'Word pieces of the questions that were read and of the captions that were written',
    labelNames: ['kind'] as const,
    registers,
  });
  const batchUnits = new Histogram({
    name: 'distillvlm_batch_units',
    help: 'Pairs of photo and question in a batch; a caption counts as one',
    buckets: BATCH_BUCKETS,
    registers,
  });

  events.on('batchStarted', ({ units, waitsMs }) => {
    batchUnits.observe(units);
    for (const waitMs of waitsMs) {
      stages.observe({ stage: 'wait' }, waitMs / 1000);
    }
  });
  events.on('stage', ({ stage, ms, tokens: count }) => {
    stages.observe({ stage }, ms / 1000);
    if (count !== undefined) {
      tokens.inc({ kind: stage === 'caption' ? 'caption' : 'question' }, count);
    }
  });
}

/** What becomes of a photo beside its answer. */
function observePhotos(events: Events, registers: Registry[]): void {
  const retries = new Counter({
    name: 'distillvlm_photos_retried_total',
    help: 'Photos that were tried again, alone, because their batch failed',
    registers,
  });
  const shared = new Counter({
    name: 'distillvlm_photos_shared_total',
    help: 'Photos answered with the result of an equal request that was in flight',
    registers,
  });
  const cached = new Counter({
    name: 'distillvlm_cache_lookups_total',
    help: 'Photos answered, by whether their regions and prefix were there already',
    labelNames: ['result'] as const,
    registers,
  });
  const dropped = new Counter({
    name: 'distillvlm_photos_dropped_total',
    help: 'Photos that nobody waited for any more: their deadline had passed, or their client had left',
    labelNames: ['when'] as const,
    registers,
  });

  events.on('jobRetried', () => {
    retries.inc();
  });
  events.on('jobShared', () => {
    shared.inc();
  });
  events.on('photoAnswered', (photo) => {
    cached.inc({ result: photo.cached ? 'hit' : 'miss' });
  });
  events.on('jobDropped', ({ when }) => {
    dropped.inc({ when });
  });
}

/** Starts, memory and ends of the inference processes. */
function observeProcesses(events: Events, registers: Registry[]): void {
  const starts = new Counter({
    name: 'distillvlm_process_starts_total',
    help: 'Inference processes that became ready, by the device that they took',
    labelNames: ['device'] as const,
    registers,
  });
  const fallbacks = new Counter({
    name: 'distillvlm_device_fallbacks_total',
    help: 'Inference processes that took the CPU because the device that DEVICE=auto prefers does not work',
    registers,
  });
  const memory = new Gauge({
    name: 'distillvlm_process_resident_bytes',
    help: 'Memory of each inference process, counted from 0, at the end of its last batch',
    labelNames: ['process'] as const,
    registers,
  });
  const ends = new Counter({
    name: 'distillvlm_process_ends_total',
    help: 'Inference processes that ended: closed with the server, died or could not be started, or hung and were killed',
    labelNames: ['reason'] as const,
    registers,
  });

  events.on('processReady', ({ device }) => {
    starts.inc({ device: device.name });
    fallbacks.inc(device.fallback === undefined ? 0 : 1);
  });
  events.on('processMemory', ({ slot, residentBytes }) => {
    memory.set({ process: slot }, residentBytes);
  });
  events.on('processGone', ({ reason }) => {
    ends.inc({ reason });
  });
}
