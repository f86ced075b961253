import type { Device } from '../onnx/device';
import type { StageReport } from '../vision-language/stage';

export const EVENT_NAMES = [
  'batchStarted',
  'batchEnded',
  'stage',
  'jobRetried',
  'jobShared',
  'photoAnswered',
  'jobDropped',
  'processReady',
  'processMemory',
  'processGone',
] as const satisfies readonly (keyof InferenceEvents)[];

/** What inference tells of itself while it works, for whoever measures; the values are the arguments of listeners. */
export interface InferenceEvents {
  /** Jobs were handed to a process; each has waited so long. */
  batchStarted: [{ readonly units: number; readonly waitsMs: readonly number[] }];
  /** A batch came back from one of `processes` processes that work side by side, with results for so many units. */
  batchEnded: [{ readonly units: number; readonly ms: number; readonly processes: number }];
  /** A stage of a batch is done. */
  stage: [StageReport];
  /** The batch of a job failed, and it waits for a second try. */
  jobRetried: [];
  /** A job is answered with the result of an equal one that was in flight. */
  jobShared: [];
  /** A photo was answered, with or without its regions and prefix having been there. */
  photoAnswered: [{ readonly cached: boolean }];
  /** Nobody waits for a job any more. */
  jobDropped: [{ readonly when: 'waiting' | 'running' }];
  /** A process, counted from 0, has loaded the bundles; so long a unit took it in its last warm-up batch. */
  processReady: [{ readonly slot: number; readonly msPerUnit: number; readonly device: Device }];
  /** What a process had in memory at the end of a batch. */
  processMemory: [{ readonly slot: number; readonly residentBytes: number }];
  processGone: [{ readonly reason: 'closed' | 'died' | 'hung' }];
}
