import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

const PROJECT_ROOT = path.join(__dirname, '../..');
export const TINY_BUNDLE = path.join(PROJECT_ROOT, 'test/fixtures/bundle-tiny');

interface LogLine {
  readonly event: string;
  readonly port?: number;
  readonly pid?: number;
  readonly models?: readonly string[];
  readonly [field: string]: unknown;
}

/** What every server here runs with, if it is not told otherwise: one process, however many cores there are. */
const SETTINGS = { HOST: '127.0.0.1', PORT: '0', MODEL_DIR: TINY_BUNDLE, INFERENCE_PROCESSES: '1' };

/** The real server with an inference process on a small random bundle, in a process group of its own. */
export class ServerProcess {
  private readonly child: ChildProcess;
  private readonly log: LogLine[] = [];
  private readonly listeners: ((line: LogLine) => void)[] = [];
  /** Exit code, or the signal that ended the process, once all that it has written is here. */
  readonly exit: Promise<number | NodeJS.Signals>;
  /** The same, whoever still holds what it wrote to. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** What was told to the person who started it. */
  stderr = '';

  constructor(command: readonly [string, ...string[]], environment: Readonly<Record<string, string>> = {}) {
    const [file, ...args] = command;
    this.child = spawn(file, args, {
      cwd: PROJECT_ROOT,
      detached: true,
      env: { PATH: process.env['PATH'], ...SETTINGS, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.exit = this.end('close');
    this.ended = this.end('exit');
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    if (this.child.stdout !== null) {
      createInterface(this.child.stdout).on('line', (line) => {
        if (line.startsWith('{')) {
          const logged = JSON.parse(line) as LogLine;
          this.log.push(logged);
          this.listeners.forEach((listener) => {
            listener(logged);
          });
        }
      });
    }
  }

  private async end(event: 'exit' | 'close'): Promise<number | NodeJS.Signals> {
    const [code, signal] = (await once(this.child, event)) as [number, null] | [null, NodeJS.Signals];
    return code ?? signal;
  }

  /** Process id of what was started: of npm for `npm start`. */
  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The first log line of an event; waits for it. */
  async event(name: string): Promise<LogLine> {
    const logged = this.log.find(({ event }) => event === name);
    if (logged) {
      return logged;
    }
    const heard = new Promise<LogLine>((resolve) => {
      this.listeners.push((line) => {
        if (line.event === name) {
          resolve(line);
        }
      });
    });
    const ended = this.exit.then((code) => {
      throw new Error(`The server ended with ${code} before it logged ${name}: ${this.stderr}`);
    });
    return Promise.race([heard, ended]);
  }

  /** All lines of an event so far. */
  logged(name: string): readonly LogLine[] {
    return this.log.filter(({ event }) => event === name);
  }

  async port(): Promise<number> {
    return (await this.event('listening')).port ?? 0;
  }

  /** Whether any process of the group lives. */
  get groupLives(): boolean {
    try {
      return process.kill(-this.pid, 0);
    } catch {
      return false;
    }
  }

  /** Ends whatever a failed test has left. */
  cleanUp(): void {
    if (this.groupLives) {
      process.kill(-this.pid, 'SIGKILL');
    }
  }
}
