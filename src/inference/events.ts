import type { StageReport } from '../vision-language/stage';

/** What inference tells of itself while it works, for whoever measures; the values are the arguments of listeners. */
export interface InferenceEvents {
  /** Jobs were handed to a process; each has waited so long. */
  batchStarted: [{ readonly units: number; readonly waitsMs: readonly number[] }];
  /** A batch came back from one of `processes` processes that work side by side. */
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
  /** A process has loaded the bundle; so long a unit took it in its last warm-up batch. */
  processReady: [{ readonly msPerUnit: number }];
  processGone: [{ readonly reason: 'closed' | 'died' | 'hung' }];
}
