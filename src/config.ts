import path from 'node:path';
import { gpuCount, processesOn, usableCores } from './cores';
import {
  address,
  boolean,
  integer,
  list,
  matching,
  oneOf,
  secret,
  secretPairs,
  type Setting,
  SettingsError,
  text,
} from './setting-kinds';
import { flagOf, fromEnvironment, fromFile, fromFlags, type Source } from './setting-sources';

export { gpuCount, SettingsError, usableCores };

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** May name a file with settings too. */
const CONFIG_FILE = 'CONFIG_FILE';

/** Every setting with the variable that holds it; README.md lists them, and a test holds the two together. */
export const SETTINGS = {
  /** All interfaces: in a container the loopback cannot be reached from outside. */
  host: text('HOST', '0.0.0.0'),
  /** 0 takes a free port. */
  port: integer('PORT', 3000, 0, 65_535),
  /** Folder of the bundle that is served; a relative one is taken from the project's root. */
  modelDir: text('MODEL_DIR', 'models/photos'),
  /** Folders of bundles for requests that name them. */
  moreModelDirs: list('MORE_MODEL_DIRS'),
  /** What runs the graphs; `auto` is the first GPU for each process where CUDA is there, and otherwise the CPU. */
  device: matching('DEVICE', 'auto', /^(auto|cpu|cuda(:\d{1,2})?|webgpu)$/, 'auto, cpu, cuda, cuda:<number> or webgpu'),
  /** fp16 is of variants that a bundle may have; `auto` takes them on CUDA. */
  precision: oneOf('PRECISION', 'auto', ['auto', 'fp32', 'fp16']),
  /** 0 is one for each core, as far as the memory holds them, and for each GPU; one answers less and needs less memory. */
  inferenceProcesses: integer('INFERENCE_PROCESSES', 0, 0, 64),
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
  /**
   * Decoded side by side, at 7 bytes each in memory at most; those of AVIF count four times, of WebP twice. The largest
   * photo has 50 megapixels, and one that counts more than all runs alone.
   */
  decodeMegapixels: integer('DECODE_MEGAPIXELS', 100, 50, 10_000),
  /** A person waits that long at most; work that would end later is dropped. */
  requestTimeoutMs: integer('REQUEST_TIMEOUT_MS', 30_000, 1, 600_000),
  /**
   * A run of a graph cannot be interrupted: one that takes many times as long as a batch of 8 has hung; a larger batch has as
   * many times longer.
   */
  stageTimeoutMs: integer('STAGE_TIMEOUT_MS', 20_000, 1_000, 600_000),
  /** Off: who is a client, and how much each may ask, only the operator knows. */
  rateLimit: integer('RATE_LIMIT', 0, 0, 1_000_000),
  /** None: then nobody can pretend to be another client by a header. */
  trustedProxies: integer('TRUSTED_PROXIES', 0, 0, 10),
  /** Who may ask, a name and the SHA-256 of a key in each line; without it everybody may. */
  apiKeysFile: text('API_KEYS_FILE', ''),
  /** None: pages of other origins may not read what the server answers. */
  corsOrigins: list('CORS_ORIGINS'),
  /** None: the server fetches no photos. */
  imageUrlHosts: list('IMAGE_URL_HOSTS'),
  /** 0 is none; for reloading and, where so set, metrics. */
  adminPort: integer('ADMIN_PORT', 0, 0, 65_535),
  adminHost: text('ADMIN_HOST', '127.0.0.1'),
  /** As API_KEYS_FILE; the admin port opens with keys only. */
  adminKeysFile: text('ADMIN_KEYS_FILE', ''),
  metrics: oneOf('METRICS', 'open', ['open', 'admin']),
  /** Where traces go, such as http://localhost:4318; none without it. */
  otlpEndpoint: address('OTEL_EXPORTER_OTLP_ENDPOINT'),
  /** Such as what the collector wants for authorization. */
  otlpHeaders: secretPairs('OTEL_EXPORTER_OTLP_HEADERS'),
  /** What `score --url` shows to a server that asks for keys. */
  apiKey: secret('API_KEY'),
  /** Of the Redis or Valkey of `score --queue` and `work`. */
  queuePassword: secret('QUEUE_PASSWORD'),
  /** Of AWS's own only some buckets take it; other servers that speak S3 often take nothing else. */
  s3PathStyle: boolean('OBJECT_STORE_PATH_STYLE', false),
  /** The SDK's own 3 are over within a second; 10 outlast a store that restarts, which a run of hours will meet. */
  s3MaxAttempts: integer('AWS_MAX_ATTEMPTS', 10, 1, 100),
  logLevel: oneOf('LOG_LEVEL', 'info', LOG_LEVELS),
  /** Holds each response against openapi.yaml before it is sent: for development and tests, since it costs time. */
  validateResponses: boolean('VALIDATE_RESPONSES', false),
} as const;

export type Settings = { readonly [Key in keyof typeof SETTINGS]: (typeof SETTINGS)[Key]['fallback'] };

/** Goes back to the system when it is freed. glibc's own limit begins lower and rises to 32 MB by itself. */
const LARGE_BLOCK_BYTES = 2 ** 20;

/**
 * Lets four times as much garbage gather as there is of what is kept. The bytes of photos and tensors count as heap: by
 * V8's own measure the server would collect every twenty photos, which takes half as long as all else that it does for
 * them, and an inference process after each batch.
 */
export const GARBAGE_FLAG = '--heap-growing-percent=400';

/** The compiled file lies in dist/, the source in src/: both one level below. */
export const PROJECT_ROOT = path.join(__dirname, '..');

/**
 * Reads every setting once: a flag goes before the environment, that before the file that CONFIG_FILE or --config-file
 * names, and that before the default.
 * @throws SettingsError for the first value that is not allowed.
 */
export function readSettings(environment: NodeJS.ProcessEnv = process.env, flags: readonly string[] = []): Settings {
  const variables = Object.values<Setting<unknown>>(SETTINGS).map(({ variable }) => variable);
  const sources = [fromFlags(flags, [...variables, CONFIG_FILE]), fromEnvironment(environment)];
  const file = find(CONFIG_FILE, sources)?.text;
  if (file !== undefined) {
    sources.push(fromFile(file, variables));
  }
  const values = Object.entries<Setting<unknown>>(SETTINGS).map(([key, setting]) => [key, read(setting, sources)]);
  const settings = Object.fromEntries(values) as Settings;
  if (settings.adminPort > 0 && settings.adminKeysFile === '') {
    throw new SettingsError('ADMIN_PORT needs ADMIN_KEYS_FILE: nobody could use it without a key.');
  }
  if (settings.metrics === 'admin' && settings.adminPort === 0) {
    throw new SettingsError('METRICS is "admin", for which ADMIN_PORT must be set.');
  }
  const inferenceProcesses = settings.inferenceProcesses || processesOn(settings.device);
  return Object.freeze({
    ...settings,
    inferenceProcesses,
    modelDir: fromRoot(settings.modelDir),
    moreModelDirs: settings.moreModelDirs.map(fromRoot),
    intraOpThreads: settings.intraOpThreads || sharedCores(inferenceProcesses),
  });
}

/** Every setting as a flag and as a variable with its default, for people. */
export function describeSettings(): string {
  const lines = Object.values<Setting<unknown>>(SETTINGS).map(({ variable, fallback }) =>
    `  ${flagOf(variable).padEnd(32)} ${variable.padEnd(30)} ${String(fallback)}`.trimEnd(),
  );
  return ['A flag, a variable of the environment, and the default; README.md says what each means:', ...lines].join(
    '\n',
  );
}

/** Variables with what is secret: of settings, and the keys of the object store. */
const SECRETS: ReadonlySet<string> = new Set([
  ...Object.values<Setting<unknown>>(SETTINGS).flatMap((setting) => (setting.secret ? [setting.variable] : [])),
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
]);

/**
 * The environment of inference processes, of which what the operator sets stands, but for what is secret: they decode what
 * anybody sends, and have no use for it. Of their photos and tensors glibc keeps what was freed, in arenas for each thread;
 * after damaged photos by ten thousands that was more than all else.
 */
export function inferenceEnvironment(environment: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const open = Object.entries(environment).filter(([variable]) => !SECRETS.has(variable));
  return {
    MALLOC_ARENA_MAX: '2',
    MALLOC_MMAP_THRESHOLD_: String(LARGE_BLOCK_BYTES),
    ...Object.fromEntries(open),
  };
}

/** Every setting by its variable's name, for whoever starts the server; of what is secret only whether it is set. */
export function showSettings(settings: Settings): Record<string, unknown> {
  const shown = Object.entries<Setting<unknown>>(SETTINGS).map(([key, { variable, show }]) => {
    const value = settings[key as keyof Settings];
    return [variable, show === undefined ? value : show(String(value))];
  });
  return Object.fromEntries(shown) as Record<string, unknown>;
}

function fromRoot(folder: string): string {
  return path.resolve(PROJECT_ROOT, folder);
}

/** Threads for each of a number of processes, so that together they have every usable core. */
export function sharedCores(processes: number): number {
  return Math.max(1, Math.floor(usableCores() / processes));
}

function read<T>({ variable, fallback, parse, expected, show = String }: Setting<T>, sources: readonly Source[]): T {
  const given = find(variable, sources);
  if (given === undefined) {
    return fallback;
  }
  const value = parse(given.text);
  if (value === undefined) {
    throw new SettingsError(`${given.name} is "${show(given.text)}", and must be ${expected}.`);
  }
  return value;
}

function find(variable: string, sources: readonly Source[]) {
  return sources.reduce<ReturnType<Source>>((found, source) => found ?? source(variable), undefined);
}
