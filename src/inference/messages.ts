import type { ServiceError } from '../errors';
import type { BundleSource } from '../onnx/bundle';
import type { Device } from '../onnx/device';
import type { PrecisionWish } from '../onnx/precision';
import type { PredictorOptions } from '../vision-language/predictor';
import type { AnswerResult, CaptionResult, DecodingOptions } from '../vision-language/results';
import type { StageReport } from '../vision-language/stage';
import type { PhotoJob } from './service';

// What parent and child tell each other until the parent closes the channel, which ends the child. Compressed photos go
// by a pipe of their own; tensors never pass.

/** Photos that share every run of a graph. */
export interface Batch {
  readonly task: PhotoJob['task'];
  /** As `name@version`; by default the first of the bundles. */
  readonly model?: string;
  readonly options: DecodingOptions;
  readonly photos: readonly {
    readonly image: Uint8Array;
    /** Empty for captions. */
    readonly questions: readonly string[];
  }[];
}

/** A batch whose photos come by the pipe, one behind the other in their order. */
export interface AnnouncedBatch extends Omit<Batch, 'photos'> {
  readonly photos: readonly { readonly imageBytes: number; readonly questions: readonly string[] }[];
}

/** How a photo of a batch ended; nobody waits for a cancelled one. */
export type PhotoOutcome =
  | { readonly result: CaptionResult | AnswerResult }
  | { readonly error: Pick<ServiceError, 'code' | 'detail'> }
  | 'cancelled';

/** What a process is to hold. */
export interface LoadOrder {
  /** At least one; the first answers what names none. */
  readonly bundles: readonly BundleSource[];
  readonly predictor: Omit<PredictorOptions, 'session'>;
  /** Of one run of a graph, at least 1. */
  readonly threads: number;
  /** As in the settings: auto, cpu, cuda, cuda:<number> or webgpu. */
  readonly device: string;
  readonly precision: PrecisionWish;
  /** Which of the processes it is, from 0. */
  readonly slot: number;
}

export type MessageToChild =
  | ({ readonly type: 'load' } & LoadOrder)
  /** Not before the child is ready. What comes while a batch runs is decoded meanwhile and has the graphs after it. */
  | { readonly type: 'run'; readonly id: number; readonly batch: AnnouncedBatch }
  /** Drops one photo of the batch with this id. */
  | { readonly type: 'cancel'; readonly id: number; readonly photo: number };

export interface Readiness {
  /** Of the last warm-up batch, and of several bundles the slowest. */
  readonly msPerUnit: number;
  readonly device: Device;
}

export type MessageToParent =
  | ({ readonly type: 'ready' } & Readiness)
  /** While a batch runs, at the end of each stage. */
  | { readonly type: 'stage'; readonly report: StageReport }
  /** Of a batch or of the one behind it, for each photo. */
  | { readonly type: 'decoded' }
  /** One for each photo of the batch, in their order. */
  | {
      readonly type: 'outcomes';
      readonly id: number;
      readonly outcomes: readonly PhotoOutcome[];
      readonly residentBytes: number;
    }
  /** A batch as a whole failed, by a bug or for want of memory; without an id, the bundle cannot be served. */
  | { readonly type: 'failed'; readonly id?: number | undefined; readonly reason: string };
