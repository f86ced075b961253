import { randomUUID } from 'node:crypto';
import { open, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { RunError } from './errors';

/** How often a holder gives a sign of life, and how long one is waited for: pauses of a busy machine are shorter. */
const TIMES = { beatMs: 4_000, expiryMs: 20_000 };

/**
 * A file that its holder touches again and again, for runs whose machines share no more than a folder. No clocks are
 * compared: whoever finds the file looks on whether it changes. Opened each time, since NFS looks anew then.
 */
export class Lease {
  private beatAtMs = performance.now();
  private failure: unknown;
  private readonly timer: NodeJS.Timeout;

  private constructor(
    private readonly file: string,
    private readonly content: string,
    private readonly times: typeof TIMES,
  ) {
    this.timer = setInterval(() => void this.beat(), times.beatMs).unref();
  }

  /**
   * @param file is known to be of a dead run where it says this machine: the caller keeps the living ones away
   * @returns undefined while another machine's run holds it
   */
  static async take(file: string, times = TIMES): Promise<Lease | undefined> {
    const here = await thisPlace();
    const content = `${here} ${randomUUID()}\n`;
    const earlier = await look(file);
    const isForeign = earlier !== undefined && !earlier.content.startsWith(`${here} `);
    if (isForeign) {
      process.stderr.write(`${file} is of a run elsewhere; looking whether it lives, for ${times.expiryMs / 1e3} s.\n`);
      for (let watchedMs = 0; watchedMs < times.expiryMs; watchedMs += times.beatMs) {
        await sleep(times.beatMs);
        const now = await look(file);
        if (now?.mtimeMs !== earlier.mtimeMs || now.content !== earlier.content) {
          return undefined;
        }
      }
    }
    if (earlier !== undefined) {
      await rm(file, { force: true });
    }
    try {
      await writeFile(file, content, { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
        return undefined;
      }
      throw error;
    }
    if (isForeign) {
      // Of two that have found it dead, the second has removed the first one's by now.
      await sleep(times.beatMs);
      if ((await look(file))?.content !== content) {
        return undefined;
      }
    }
    return new Lease(file, content, times);
  }

  /** @throws RunError when others may take the holder for dead, such as after it was stopped for long */
  async requireHeld(): Promise<void> {
    const isLate = (): boolean => performance.now() - this.beatAtMs > this.times.expiryMs / 2;
    if (isLate()) {
      await this.beat();
    }
    if (isLate()) {
      throw new RunError(`${this.file}, which keeps other runs away, is lost: ${(this.failure as Error).message}.`);
    }
  }

  async release(): Promise<void> {
    clearInterval(this.timer);
    if ((await look(this.file))?.content === this.content) {
      await rm(this.file, { force: true });
    }
  }

  private async beat(): Promise<void> {
    try {
      const handle = await open(this.file, 'r+');
      try {
        if ((await handle.readFile('utf8')) !== this.content) {
          this.beatAtMs = -Infinity;
          throw new Error('another run has taken it');
        }
        const now = new Date();
        await handle.utimes(now, now);
        this.beatAtMs = performance.now();
      } finally {
        await handle.close();
      }
    } catch (error) {
      // The next may succeed.
      this.failure = error;
    }
  }
}

async function look(file: string): Promise<{ content: string; mtimeMs: number } | undefined> {
  try {
    const handle = await open(file);
    try {
      return { content: await handle.readFile('utf8'), mtimeMs: (await handle.stat()).mtimeMs };
    } finally {
      await handle.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
}

/** What shares the sockets of this process: on Linux its network namespace, by whose number until the next boot. */
async function thisPlace(): Promise<string> {
  if (process.platform !== 'linux') {
    return hostname();
  }
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return `${boot.trim()} ${await readlink('/proc/self/ns/net')}`;
}
