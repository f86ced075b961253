import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { installed } from './installed';

/** A program of test/servers that runs in a folder of its own. */
export class Program {
  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  /**
   * @param argumentsIn gives the program's arguments for its folder, and may fill that
   * @param isReady resolves when the program answers
   */
  static async start(
    program: string,
    argumentsIn: (folder: string) => readonly string[],
    isReady: () => Promise<void>,
  ): Promise<Program> {
    const name = path.basename(program);
    const folder = mkdtempSync(path.join(tmpdir(), `${name}-`));
    const child = spawn(installed(program), argumentsIn(folder), { stdio: 'ignore' });
    const failed = once(child, 'exit').then(([code]) => {
      throw new Error(`${name} ended with ${code} before it was ready.`);
    });
    failed.catch(() => undefined);
    await Promise.race([failed, isReady()]);
    return new Program(child, folder);
  }

  async stop(): Promise<void> {
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
    rmSync(this.folder, { recursive: true });
  }
}
