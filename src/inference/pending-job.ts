import { ServiceError } from '../errors';
import type { AnswerResult, CaptionResult } from '../vision-language/results';
import type { PhotoOutcome } from './messages';
import { type PhotoJob, type Turn, unitsOf } from './service';

/** A job on its way to its result, for one or several who wait. It is settled once; what comes later is ignored. */
export class PendingJob {
  readonly result: Promise<CaptionResult | AnswerResult>;
  readonly units: number;
  /** Jobs with equal keys may share a batch. */
  readonly batchKey: string;
  /** Jobs with equal keys have equal results; absent where the photo has no name. */
  readonly resultKey: string | undefined;
  /** A batch with this job in it has failed: its second try is alone, so that it fails for its own sake only. */
  hasFailed = false;
  /** On the clock of `performance.now()`. */
  readonly queuedAtMs = performance.now();
  /** Called when nobody waits for the job any more; set while it runs. */
  onAbandoned: (() => void) | undefined;
  private readonly turns: Turn[] = [];
  private hasBegun = false;
  private isSettled = false;
  private waiters = 0;
  private resolve!: (result: CaptionResult | AnswerResult) => void;
  private reject!: (reason: unknown) => void;

  constructor(readonly job: PhotoJob) {
    this.join(job);
    this.units = unitsOf(job);
    this.batchKey = JSON.stringify([job.task, job.model, Object.entries(job.options).sort(), job.batch]);
    const questions = job.task === 'vqa' ? job.questions : [];
    this.resultKey = job.sha256 && JSON.stringify([job.sha256, this.batchKey, questions, job.priority]);
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  get settled(): boolean {
    return this.isSettled;
  }

  /** Who asks the same is asked too when the turn has come, and where it has, is told at once. */
  join({ turn }: PhotoJob): void {
    if (turn !== undefined) {
      this.turns.push(turn);
    }
    if (this.hasBegun) {
      // Its work is under way, for whoever waits.
      turn?.come();
    }
  }

  /** The job's turn has come. @returns whether its work is to begin; where it comes too late for all, it has failed */
  begin(): boolean {
    const refusals = this.turns.map((turn) => turn.come());
    const [refusal] = refusals;
    if (refusal === undefined || refusals.includes(undefined)) {
      this.hasBegun = true;
      return true;
    }
    this.fail(refusal);
    return false;
  }

  /**
   * Waits for the result, or until `signal` is aborted.
   * @param onAllLeft called when the last who waited has left
   */
  wait(signal: AbortSignal | undefined, onAllLeft: (reason: unknown) => void): Promise<CaptionResult | AnswerResult> {
    this.waiters += 1;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        reject(signal?.reason as Error);
        this.waiters -= 1;
        if (this.waiters === 0) {
          onAllLeft(signal?.reason);
        }
      };
      signal?.addEventListener('abort', leave, { once: true });
      const stay = (): void => signal?.removeEventListener('abort', leave);
      this.result.finally(stay).then(resolve, reject);
    });
  }

  settle(outcome: Exclude<PhotoOutcome, 'cancelled'>): void {
    this.isSettled = true;
    if ('result' in outcome) {
      this.resolve(outcome.result);
    } else {
      this.fail(new ServiceError(outcome.error.code, outcome.error.detail));
    }
  }

  fail(reason: unknown): void {
    this.isSettled = true;
    this.reject(reason);
  }

  abandon(reason: unknown): void {
    this.fail(reason);
    this.onAbandoned?.();
  }
}
