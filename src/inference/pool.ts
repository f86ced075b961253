import type { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceError } from '../errors';
import type { Logger } from '../logger';
import { BundleError } from '../onnx/manifest';
import type { StageReport } from '../vision-language/stage';
import type { InferenceEvents } from './events';
import { InferenceProcess, type ProcessOptions } from './process';

export interface PoolOptions extends Omit<ProcessOptions, 'slot' | 'onStage' | 'onMemory'> {
  /** Processes kept alive, at least 1. */
  readonly processes: number;
  readonly logger: Logger;
}

/** Wait before a process that could not load is followed by another; doubles with each such failure in a row. */
const FIRST_BACK_OFF_MS = 500;
const LONGEST_BACK_OFF_MS = 30_000;
/** An idle process ends within milliseconds; one in the middle of a graph cannot hear. */
const END_GRACE_MS = 1_000;

/** Keeps a number of inference processes alive. */
export class ProcessPool {
  /**
   * Resolves when every process has been ready once; rejects with a BundleError when a bundle cannot be served. A
   * process that dies while it loads is followed by another.
   */
  readonly ready: Promise<void>;
  private readonly processes = new Set<InferenceProcess>();
  private readonly closing = new AbortController();
  private readonly keepers: Promise<void>[] = [];

  constructor(
    private readonly options: PoolOptions,
    private readonly events: EventEmitter<InferenceEvents>,
  ) {
    const firstLoads = Array.from(
      { length: options.processes },
      (_, slot) => new Promise<void>((resolve, reject) => this.keepers.push(this.keepOneAlive(slot, resolve, reject))),
    );
    this.ready = Promise.all(firstLoads).then(() => undefined);
    // The rejection is for whoever waits for `ready`; where nobody does it is not an unhandled one.
    this.ready.catch(() => undefined);
  }

  /** Processes that have loaded the bundle and live. */
  get readyCount(): number {
    return this.living.length;
  }

  /** Processes that have so many batches in hand; with none they are free. */
  having(batches: number): InferenceProcess[] {
    return this.living.filter(({ batchesInHand }) => batchesInHand === batches);
  }

  private get living(): InferenceProcess[] {
    return [...this.processes].filter(({ status }) => status === 'ready');
  }

  /** Ends every process, by force where it does not hear in time. */
  async close(): Promise<void> {
    this.closing.abort();
    for (const process of this.processes) {
      process.end();
    }
    const force = setTimeout(() => {
      for (const process of this.processes) {
        process.kill();
      }
    }, END_GRACE_MS);
    await Promise.all(this.keepers);
    clearTimeout(force);
  }

  private async keepOneAlive(slot: number, onLoaded: () => void, onRefused: (reason: Error) => void): Promise<void> {
    let failuresInARow = 0;
    while (!this.closing.signal.aborted) {
      const process = await this.start(slot);
      const hasLoaded = process !== undefined && (await this.load(slot, process, onLoaded, onRefused));
      failuresInARow = hasLoaded ? 0 : failuresInARow + 1;
      const how = (await process?.exited) ?? 'was not started';
      this.options.logger.info({ event: 'inference_process_gone', pid: process?.pid, how });
      this.events.emit('processGone', { reason: this.reasonOf(process) });
      await this.backOff(failuresInARow);
    }
    onRefused(new ServiceError('shutting_down', 'The server is shutting down.'));
  }

  /** @returns nothing where the system has no room for a process now */
  private async start(slot: number): Promise<InferenceProcess | undefined> {
    const onStage = (report: StageReport): void => void this.events.emit('stage', report);
    const onMemory = (residentBytes: number): void => void this.events.emit('processMemory', { slot, residentBytes });
    try {
      const process = await InferenceProcess.start({ ...this.options, slot, onStage, onMemory });
      this.processes.add(process);
      void process.exited.then(() => this.processes.delete(process));
      if (this.closing.signal.aborted) {
        process.end();
      }
      return process;
    } catch (error) {
      this.options.logger.error({ event: 'inference_process_failed', err: error });
      return undefined;
    }
  }

  /** @returns whether it has loaded the bundles; one that could not is killed */
  private async load(
    slot: number,
    process: InferenceProcess,
    onLoaded: () => void,
    onRefused: (reason: Error) => void,
  ): Promise<boolean> {
    const { logger } = this.options;
    const { pid } = process;
    try {
      const { msPerUnit, device } = await process.load();
      logger.info({ event: 'inference_process_ready', pid, device: device.name });
      if (device.fallback !== undefined) {
        logger.warn({ event: 'device_fallback', pid, device: device.name, reason: device.fallback });
      }
      onLoaded();
      this.events.emit('processReady', { slot, msPerUnit, device });
      return true;
    } catch (error) {
      logger.error({ event: 'inference_process_failed', pid, err: error });
      if (error instanceof BundleError) {
        onRefused(error);
      }
      process.kill();
      return false;
    }
  }

  private reasonOf(process: InferenceProcess | undefined): 'closed' | 'died' | 'hung' {
    return process?.hung ? 'hung' : this.closing.signal.aborted ? 'closed' : 'died';
  }

  /** Waits before the next start, not at all after a process that had been ready. */
  private async backOff(failuresInARow: number): Promise<void> {
    if (failuresInARow > 0) {
      const ms = Math.min(FIRST_BACK_OFF_MS * 2 ** (failuresInARow - 1), LONGEST_BACK_OFF_MS);
      // Closing ends the wait, which is no error.
      await sleep(ms, undefined, { signal: this.closing.signal }).catch(() => undefined);
    }
  }
}
