import { setImmediate } from 'node:timers/promises';
import type { ServiceError } from '../errors';

export type StageName = 'decode' | 'detect' | 'prefix' | 'caption' | 'answer';

/** What a stage took, and for how many photos of its batch. */
export interface StageReport {
  readonly stage: StageName;
  readonly photos: number;
  readonly ms: number;
  /** Word pieces of the questions that were read or of the captions that were written; none in the stages of photos. */
  readonly tokens?: number;
}

/** Whether anybody still waits for a photo. */
export interface Interest {
  readonly signal: { readonly aborted: boolean };
}

/** A photo that left its batch early: it failed, or nobody waits for it any more. */
export class Ended {
  constructor(readonly reason: ServiceError | 'cancelled') {}
}

/**
 * Runs one stage on the photos of a batch that still want it. The event loop gets its turn first, so that word of a
 * cancellation can come in: a run of a graph blocks it and cannot be interrupted.
 * @param run gives one result for each photo, in their order
 * @param join what a photo is after the stage
 * @returns every photo in its place, a stage further or ended.
 */
export async function runStage<Photo extends Interest, Result extends object, Next>(
  batch: readonly (Photo | Ended)[],
  run: (photos: readonly Photo[]) => readonly (Result | Ended)[] | Promise<readonly (Result | Ended)[]>,
  join: (photo: Photo, result: Result) => Next,
): Promise<(Next | Ended)[]> {
  await setImmediate();
  const wanted = batch.map((photo) =>
    photo instanceof Ended || !photo.signal.aborted ? photo : new Ended('cancelled'),
  );
  const live = wanted.filter((photo): photo is Photo => !(photo instanceof Ended));
  const results = live.length === 0 ? [] : [...(await run(live))];
  return wanted.map((photo) => {
    if (photo instanceof Ended) {
      return photo;
    }
    const result = results.shift();
    if (result === undefined) {
      throw new RangeError('Expected one result of the stage for each photo');
    }
    return result instanceof Ended ? result : join(photo, result);
  });
}

/** Runs stages and tells what each took. */
export class Stages {
  constructor(private readonly onStage: (report: StageReport) => void) {}

  run<Photo extends Interest, Result extends object, Next>(
    stage: StageName,
    batch: readonly (Photo | Ended)[],
    run: (photos: readonly Photo[]) => Promise<readonly (Result | Ended)[]>,
    join: (photo: Photo, result: Result) => Next,
    countTokens?: (photos: readonly Photo[], results: readonly (Result | Ended)[]) => number,
  ): Promise<(Next | Ended)[]> {
    const timed = async (photos: readonly Photo[]): Promise<readonly (Result | Ended)[]> => {
      const startMs = performance.now();
      const results = await run(photos);
      const ms = performance.now() - startMs;
      const tokens = countTokens?.(photos, results);
      this.onStage({ stage, photos: photos.length, ms, ...(tokens !== undefined && { tokens }) });
      return results;
    };
    return runStage(batch, timed, join);
  }
}
