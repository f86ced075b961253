import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { TINY_BUNDLE } from '../../tiny-bundle';

/** `distillvlm work` with one inference process. */
export class WorkerProcess {
  readonly process: ChildProcess;
  /** Events that it logged. */
  readonly events: string[] = [];
  /** Standard error. */
  said = '';

  constructor(url: string, environment: Record<string, string> = {}) {
    const script = path.join(__dirname, '../../../dist/batch/main.js');
    this.process = spawn(process.execPath, [script, 'work', '--queue', url, '--workers', '1', '--lock-seconds', '2'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, MODEL_DIR: TINY_BUNDLE, INTRA_OP_THREADS: '1', ...environment },
    });
    this.process.stderr?.on('data', (chunk: Buffer) => (this.said += chunk.toString()));
    if (this.process.stdout !== null) {
      createInterface(this.process.stdout).on('line', (line) => {
        this.events.push((JSON.parse(line) as { event: string }).event);
      });
    }
  }

  private isThere(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  async until(event: string): Promise<void> {
    while (!this.events.includes(event)) {
      await sleep(5);
    }
  }

  /** npm and a process manager may both tell it, each in its turn. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.isThere()) {
      const gone = once(this.process, 'exit');
      this.process.kill(signal);
      while (this.isThere() && !this.events.includes('closing')) {
        await sleep(5);
      }
      this.process.kill(signal);
      await gone;
    }
    return this.process.exitCode;
  }
}
