import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { GARBAGE_FLAG, inferenceEnvironment } from '../config';
import { BundleError } from '../onnx/manifest';
import type { StageReport } from '../vision-language/stage';
import type {
  AnnouncedBatch,
  Batch,
  LoadOrder,
  MessageToChild,
  MessageToParent,
  PhotoOutcome,
  Readiness,
} from './messages';
import { PHOTO_PIPE, sendPhotos } from './photo-pipe';

export interface ProcessOptions extends LoadOrder {
  /** Path of the compiled `child.js`. */
  readonly entry: string;
  /**
   * What no stage of a batch of 8 units takes, of decoding no photo; one that does has hung, and costs the process. A larger
   * batch has as many times longer.
   */
  readonly stageTimeoutMs: number;
  /** What loading and warming up does not take; a process that does has hung. By default 5 minutes. */
  readonly loadTimeoutMs?: number | undefined;
  /** Called at the end of each stage of a batch. */
  readonly onStage?: (report: StageReport) => void;
  /** Called at the end of each batch with what the process has in memory. */
  readonly onMemory?: (residentBytes: number) => void;
}

interface Waiting {
  /** Pairs of photo and question. */
  readonly units: number;
  readonly resolve: (reply: MessageToParent) => void;
  readonly reject: (error: Error) => void;
}

/** The server's batches, by default; what a stage takes grows with its photos. */
const UNITS_OF_STAGE_TIMEOUT = 8;
/** Graphs of a gigabyte on a slow disk and a busy machine take one or two. */
const LOAD_TIMEOUT_MS = 300_000;
/** Of words that nobody has read yet. */
const MOST_WORDS_BYTES = 100_000;

/** The process was gone before it could answer. */
export class ProcessDied extends Error {
  override readonly name = 'ProcessDied';
}

/** A child process with a bundle, for one batch at a time and, where it is given more, the decoding of those behind it. */
export class InferenceProcess {
  /** Resolves when the process is gone, with how it went. */
  readonly exited: Promise<string>;
  private hasHung = false;
  private watchdog: NodeJS.Timeout | undefined;
  private currentStatus: 'loading' | 'ready' | 'gone' = 'loading';
  /** Who waits for a reply, by the id of the batch; the order to load has none. */
  private readonly waiting = new Map<number | undefined, Waiting>();

  /** @throws the system's error when it has no room for a process, such as no file descriptors */
  static async start(options: ProcessOptions): Promise<InferenceProcess> {
    // Flags of the parent's own Node (a debugger's port, a test runner's loader) are not for the child.
    const child = fork(options.entry, [], {
      env: inferenceEnvironment(),
      serialization: 'advanced',
      execArgv: [GARBAGE_FLAG],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    });
    // One that was never there has neither pipes nor a channel, and to kill it would kill whoever asks.
    await once(child, 'spawn');
    return new InferenceProcess(child, options);
  }

  private constructor(
    private readonly child: ChildProcess,
    private readonly options: ProcessOptions,
  ) {
    // A process that dies leaves its pipe broken; of that its exit tells.
    this.photos.on('error', () => undefined);
    for (const words of [this.child.stdout, this.child.stderr]) {
      words?.on('data', passOn);
    }
    this.child.on('message', (message: MessageToParent) => {
      this.hear(message);
    });
    this.exited = new Promise((resolve) => {
      const leave = (how: string): void => {
        this.currentStatus = 'gone';
        for (const { reject } of this.waiting.values()) {
          reject(new ProcessDied(`The inference process ${how}`));
        }
        resolve(how);
      };
      this.child.once('exit', (code, signal) => {
        leave(this.hasHung ? 'hung and was killed' : `exited with ${signal ?? String(code)}`);
      });
      this.child.on('error', (error) => {
        leave(`cannot be used: ${error.message}`);
      });
    });
  }

  private get photos(): Writable {
    return this.child.stdio[PHOTO_PIPE] as Writable;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get hung(): boolean {
    return this.hasHung;
  }

  get status(): 'loading' | 'ready' | 'gone' {
    return this.currentStatus;
  }

  /** Of a process that is ready: the one that it works on, and those behind. */
  get batchesInHand(): number {
    return this.waiting.size;
  }

  /**
   * @throws BundleError when a bundle cannot be served or the device is not there; ProcessDied
   */
  async load(): Promise<Readiness> {
    const { bundles, predictor, threads, device, precision, slot, loadTimeoutMs = LOAD_TIMEOUT_MS } = this.options;
    const order: LoadOrder = { bundles, predictor, threads, device, precision, slot };
    const watchdog = this.watch(loadTimeoutMs);
    const reply = await this.ask(undefined, { type: 'load', ...order }).finally(() => {
      clearTimeout(watchdog);
    });
    if (reply.type !== 'ready') {
      throw new BundleError(reasonOf(reply));
    }
    this.currentStatus = 'ready';
    return reply;
  }

  /**
   * @param id unlike that of any other batch
   * @returns an outcome for each photo, in their order.
   * @throws Error with the reason when the batch as a whole failed; ProcessDied
   */
  async run(id: number, batch: Batch): Promise<readonly PhotoOutcome[]> {
    const units = batch.photos.reduce((sum, { questions }) => sum + Math.max(1, questions.length), 0);
    const asked = this.ask(id, { type: 'run', id, batch: announce(batch) }, units);
    sendPhotos(this.photos, batch.photos);
    this.watchdog ??= this.watch(this.stageTimeoutMs);
    const reply = await asked.finally(() => {
      this.noteProgress();
    });
    if (reply.type !== 'outcomes') {
      throw new Error(reasonOf(reply));
    }
    this.options.onMemory?.(reply.residentBytes);
    return reply.outcomes;
  }

  /** Drops one photo of a batch before its next stage. */
  cancel(id: number, photo: number): void {
    // A process that cannot be told is gone.
    this.child.send({ type: 'cancel', id, photo } satisfies MessageToChild, () => undefined);
  }

  /** Tells the process to end by itself. */
  end(): void {
    if (this.child.connected) {
      this.child.disconnect();
    }
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  private hear(message: MessageToParent): void {
    if (message.type !== 'stage' && message.type !== 'decoded') {
      this.waiting.get(message.type === 'ready' ? undefined : message.id)?.resolve(message);
    } else if (this.watchdog !== undefined) {
      // Those of the warm-up are of no batch.
      this.noteProgress();
      if (message.type === 'stage') {
        this.options.onStage?.(message.report);
      }
    }
  }

  /** A graph that runs cannot be interrupted, so a process in which one hangs can only be killed. */
  private watch(timeoutMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.hasHung = true;
      this.kill();
    }, timeoutMs);
  }

  /** Of all that is in hand one batch is at work, and every stage and photo has the whole time. */
  private noteProgress(): void {
    clearTimeout(this.watchdog);
    this.watchdog = this.batchesInHand > 0 ? this.watch(this.stageTimeoutMs) : undefined;
  }

  private get stageTimeoutMs(): number {
    const units = [...this.waiting.values()].map((batch) => batch.units);
    return this.options.stageTimeoutMs * Math.max(1, Math.max(...units) / UNITS_OF_STAGE_TIMEOUT);
  }

  private async ask(id: number | undefined, message: MessageToChild, units = 1): Promise<MessageToParent> {
    try {
      return await new Promise((resolve, reject) => {
        this.waiting.set(id, { units, resolve, reject });
        this.child.send(message, (error) => {
          if (error !== null) {
            // Its exit may be heard of later than the next batch is given out.
            this.currentStatus = 'gone';
            this.kill();
            reject(new ProcessDied('The inference process cannot be reached', { cause: error }));
          }
        });
      });
    } finally {
      this.waiting.delete(id);
    }
  }
}

/**
 * What native code says goes to standard error, as far as that is read. A process that shared it could not write without
 * waiting for its reader, and neither could this one: libuv makes what a child inherits blocking, for both.
 */
function passOn(words: Buffer): void {
  if (process.stderr.writableLength < MOST_WORDS_BYTES) {
    process.stderr.write(words);
  }
}

function announce({ photos, ...batch }: Batch): AnnouncedBatch {
  return { ...batch, photos: photos.map(({ image, questions }) => ({ imageBytes: image.length, questions })) };
}

function reasonOf(reply: MessageToParent): string {
  return reply.type === 'failed' ? reply.reason : `Expected another message than ${reply.type}`;
}
