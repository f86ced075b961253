import type { EventEmitter } from 'node:events';
import type { ServiceError } from '../errors';
import type { AnswerResult, CaptionResult, DecodingOptions } from '../vision-language/results';
import type { InferenceEvents } from './events';

/** Interactive work goes first; bulk work still gets its share of the batches. */
export const PRIORITIES = ['interactive', 'bulk'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** What a restart takes, for a Retry-After header: loading the bundle and a warm-up photo. */
export const RESTART_SECONDS = 5;

/** One who waits for a job hears when its turn has come. */
export interface Turn {
  /** @returns why the work is not to begin any more, where nobody else waits for it; nothing where it is welcome */
  come(): ServiceError | undefined;
}

/** What every job has, whatever its task. */
export interface Work {
  readonly image: Uint8Array;
  /** As `name@version`; by default the first of the bundles. */
  readonly model?: string;
  readonly options: DecodingOptions;
  readonly priority: Priority;
  /** Of `image`: jobs that name it share what is known of the photo, and with equal jobs in flight the whole result. */
  readonly sha256?: string;
  /** Jobs that name one share a run of the graphs with those of the same name only. */
  readonly batch?: string;
  readonly turn?: Turn;
}

/** What one photo asks of the model: a caption, or answers to questions. */
export type PhotoJob =
  (Work & { readonly task: 'caption' }) | (Work & { readonly task: 'vqa'; readonly questions: readonly string[] });

export type JobResult<J extends PhotoJob> = J['task'] extends 'caption' ? CaptionResult : AnswerResult;

export type ReadyState = 'starting' | 'ready' | 'draining' | 'stopped';

/** A job's work in pairs of photo and question; a caption counts as one. */
export function unitsOf(job: PhotoJob): number {
  return job.task === 'vqa' ? job.questions.length : 1;
}

/** Inference as its callers (`http`, `batch`) see it: jobs in, results out; the processes behind it are its own affair. */
export interface InferenceService {
  /** `starting` while no process is ready, be it at first or because all of them restart. */
  readonly state: ReadyState;

  readonly events: EventEmitter<InferenceEvents>;

  /**
   * Queues one photo; while no process is ready it waits.
   * @throws ServiceError as in `errors.ts`: `undecodable_image`, `inference_crashed`, `shutting_down`, ...
   *   An aborted signal rejects with its reason and drops the work where it has not begun.
   */
  run<J extends PhotoJob>(job: J, signal?: AbortSignal): Promise<JobResult<J>>;

  /**
   * Resolves once every process has loaded the bundle and has answered a warm-up photo.
   * @throws BundleError when the bundle cannot be served
   */
  ready(): Promise<void>;

  /** Finishes what is queued and in flight (at most `timeoutMs`), then ends the processes. */
  close(timeoutMs: number): Promise<void>;
}
