import path from 'node:path';
import { pino } from 'pino';
import { createInferenceService, type InferenceOptions } from '../../src/inference/create-service';
import type { InferenceService } from '../../src/inference/service';
import type { DecodingOptions } from '../../src/vision-language/results';
import { TINY_BUNDLE } from '../tiny-bundle';

export const OPTIONS: DecodingOptions = {
  numBeams: 3,
  numCaptions: 1,
  maxTokens: 20,
  topK: 5,
  regions: false,
  explain: false,
};

/** Built by `npm run build`: a process that is forked cannot run TypeScript. */
export const CHILD = path.join(__dirname, '../../dist/inference/child.js');

/** A service whose processes a test can get hold of. */
export class ServiceUnderTest {
  readonly service: InferenceService;
  /** Ids of the processes that have become ready, in that order. */
  readonly pids: number[] = [];
  private heard: (() => void) | undefined;

  constructor(options: Partial<InferenceOptions> = {}) {
    const write = (line: string): void => {
      const { event, pid } = JSON.parse(line) as { event: string; pid: number };
      if (event === 'inference_process_ready') {
        this.pids.push(pid);
        this.heard?.();
      }
    };
    this.service = createInferenceService({
      bundle: TINY_BUNDLE,
      processes: 1,
      threads: 1,
      maxBatch: 8,
      stageTimeoutMs: 600_000,
      maxPixelsInDecoding: 50e6,
      cacheBytes: 0,
      logger: pino({ base: null }, { write }),
      childEntry: CHILD,
      ...options,
    });
  }

  /** The id of the process that became ready as the nth, from 1; waits for it. */
  async pid(nth = 1): Promise<number> {
    for (;;) {
      const pid = this.pids[nth - 1];
      if (pid !== undefined) {
        return pid;
      }
      await new Promise<void>((resolve) => {
        this.heard = resolve;
      });
    }
  }
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
