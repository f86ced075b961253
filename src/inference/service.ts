import type { AnswerResult, CaptionResult, DecodingOptions } from '../vision-language/results';

/** What one photo asks of the model: a caption, or answers to questions. */
export type PhotoJob =
  | { readonly task: 'caption'; readonly image: Uint8Array; readonly options: DecodingOptions }
  | {
      readonly task: 'vqa';
      readonly image: Uint8Array;
      readonly questions: readonly string[];
      readonly options: DecodingOptions;
    };

export type JobResult<J extends PhotoJob> = J['task'] extends 'caption' ? CaptionResult : AnswerResult;

export type ReadyState = 'starting' | 'ready' | 'draining' | 'stopped';

/** Inference as its callers (`http`, `batch`) see it: jobs in, results out; the processes behind it are its own affair. */
export interface InferenceService {
  /** `starting` while no process is ready, be it at first or because all of them restart. */
  readonly state: ReadyState;

  /**
   * Queues one photo; while no process is ready it waits.
   * @throws ServiceError as in `errors.ts`: `undecodable_image`, `inference_crashed`, `overloaded`, `deadline_exceeded`, ...
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
