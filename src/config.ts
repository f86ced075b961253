import { availableParallelism } from 'node:os';
import path from 'node:path';

/** Settings that the environment cannot mean; the message says which variable, what it holds and what it may hold. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

interface Setting<T> {
  readonly variable: string;
  readonly fallback: T;
  readonly parse: (text: string) => T | undefined;
  readonly expected: string;
}

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** Every setting with the variable that holds it; README.md lists them, and a test holds the two together. */
export const SETTINGS = {
  /** All interfaces: in a container the loopback cannot be reached from outside. */
  host: text('HOST', '0.0.0.0'),
  /** 0 takes a free port. */
  port: integer('PORT', 3000, 0, 65_535),
  /** Folder of the bundle that is served; a relative one is taken from the project's root. */
  modelDir: text('MODEL_DIR', 'models/photos'),
  /** One holds the bundle in memory once and gives a single photo every core; more trade memory for throughput. */
  inferenceProcesses: integer('INFERENCE_PROCESSES', 1, 1, 64),
  /** Threads of one graph run; 0 shares the cores among the processes. */
  intraOpThreads: integer('INTRA_OP_THREADS', 0, 0, 256),
  /** Pairs of photo and question, or photos to caption, that share a run of the graphs; more need more memory at once. */
  maxBatch: integer('MAX_BATCH', 8, 1, 256),
  /** Under load batches fill by themselves while the processes are busy; a wait pays where requests come in bursts. */
  batchWaitMs: integer('BATCH_WAIT_MS', 0, 0, 1_000),
  /** Of regions and prefixes, in each process, about 2 MB a photo: a second question about it skips detection. */
  cacheMegabytes: integer('CACHE_MB', 128, 0, 100_000),
  /** Pairs of photo and question that come, wait or are in work; the largest request has 256. */
  maxQueue: integer('MAX_QUEUE', 512, 256, 100_000),
  /** Of their bodies, which are in memory about twice; the largest form has 64 MB. */
  maxQueueMegabytes: integer('MAX_QUEUE_MB', 512, 64, 100_000),
  /** Decoded side by side, at 3 to 8 bytes each in memory; the largest photo has 50 megapixels. */
  decodeMegapixels: integer('DECODE_MEGAPIXELS', 100, 50, 10_000),
  /** A person waits that long at most; work that would end later is dropped. */
  requestTimeoutMs: integer('REQUEST_TIMEOUT_MS', 30_000, 1, 600_000),
  /** A run of a graph cannot be interrupted: one that takes many times as long as the largest batch has hung. */
  stageTimeoutMs: integer('STAGE_TIMEOUT_MS', 20_000, 1_000, 600_000),
  /** Off: who is a client, and how much each may ask, only the operator knows. */
  rateLimit: integer('RATE_LIMIT', 0, 0, 1_000_000),
  /** None: then nobody can pretend to be another client by a header. */
  trustedProxies: integer('TRUSTED_PROXIES', 0, 0, 10),
  logLevel: oneOf('LOG_LEVEL', 'info', LOG_LEVELS),
  /** Holds each response against openapi.yaml before it is sent: for development and tests, since it costs time. */
  validateResponses: boolean('VALIDATE_RESPONSES', false),
} as const;

export type Settings = { readonly [Key in keyof typeof SETTINGS]: (typeof SETTINGS)[Key]['fallback'] };

/** The compiled file lies in dist/, the source in src/: both one level below. */
export const PROJECT_ROOT = path.join(__dirname, '..');

/**
 * Reads every setting once; unset and empty variables mean the default.
 * @throws SettingsError for the first value that is not allowed.
 */
export function readSettings(environment: NodeJS.ProcessEnv = process.env): Settings {
  const values = Object.entries<Setting<unknown>>(SETTINGS).map(([key, setting]) => [key, read(setting, environment)]);
  const settings = Object.fromEntries(values) as Settings;
  return Object.freeze({
    ...settings,
    modelDir: path.resolve(PROJECT_ROOT, settings.modelDir),
    intraOpThreads: settings.intraOpThreads || sharedCores(settings.inferenceProcesses),
  });
}

function sharedCores(processes: number): number {
  return Math.max(1, Math.floor(availableParallelism() / processes));
}

function read<T>({ variable, fallback, parse, expected }: Setting<T>, environment: NodeJS.ProcessEnv): T {
  const given = environment[variable]?.trim();
  if (!given) {
    return fallback;
  }
  const value = parse(given);
  if (value === undefined) {
    throw new SettingsError(`${variable} is "${given}", and must be ${expected}.`);
  }
  return value;
}

function text(variable: string, fallback: string): Setting<string> {
  return { variable, fallback, parse: (given) => given, expected: 'a text' };
}

function integer(variable: string, fallback: number, least: number, most: number): Setting<number> {
  return {
    variable,
    fallback,
    parse: (given) => {
      const value = Number(given);
      return /^\d+$/.test(given) && value >= least && value <= most ? value : undefined;
    },
    expected: `a whole number from ${least} to ${most}`,
  };
}

function boolean(variable: string, fallback: boolean): Setting<boolean> {
  return {
    variable,
    fallback,
    parse: (given) => (given === 'true' ? true : given === 'false' ? false : undefined),
    expected: 'true or false',
  };
}

function oneOf<const T extends string>(variable: string, fallback: T, values: readonly T[]): Setting<T> {
  return {
    variable,
    fallback,
    parse: (given) => values.find((value) => value === given),
    expected: `one of ${values.join(', ')}`,
  };
}
