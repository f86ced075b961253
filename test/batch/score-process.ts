import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { TINY_BUNDLE } from '../tiny-bundle';

// The script as a user runs it, built by `npm run build`.
const SCRIPT = path.join(__dirname, '../../dist/batch/main.js');
export const SOME_PHOTO_FAILED = 1;
export const CANNOT_RUN = 2;

export interface Ended {
  readonly code: number | null;
  /** Standard output. */
  readonly printed: string;
  /** Standard error. */
  readonly said: string;
}

/** Root may do everything, unless its capabilities are taken away. */
const AS_ANYBODY = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : [];

interface Circumstances {
  readonly environment?: Record<string, string>;
  /** Whether the modes of files hold, for root too. */
  readonly obeysModes?: boolean;
}

export function startScore(args: readonly string[], { environment, obeysModes }: Circumstances = {}): ChildProcess {
  const [command, ...before] = [...(obeysModes === true ? AS_ANYBODY : []), process.execPath];
  return spawn(command, [...before, SCRIPT, 'score', ...args], {
    stdio: 'pipe',
    env: { ...process.env, MODEL_DIR: TINY_BUNDLE, INTRA_OP_THREADS: '1', ...environment },
  });
}

/** Runs `score` on the tiny bundle, with one process unless the arguments say more, to its end. */
export async function score(
  args: readonly string[],
  { input = '', ...circumstances }: Circumstances & { input?: string } = {},
): Promise<Ended> {
  const run = startScore(args.includes('merge') ? args : [...args, '--workers', '1'], circumstances);
  const heard = { printed: '', said: '' };
  run.stdout?.on('data', (chunk: Buffer) => (heard.printed += chunk.toString()));
  run.stderr?.on('data', (chunk: Buffer) => (heard.said += chunk.toString()));
  run.stdin?.on('error', () => undefined).end(input);
  const [code] = (await once(run, 'close')) as [number | null];
  return { code, ...heard };
}

export function readRows(file: string): Record<string, unknown>[] {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Batches that the journal of an output has. */
export function journalled(output: string): number {
  const lines = existsSync(`${output}.journal`) ? readFileSync(`${output}.journal`, 'utf8').split('\n') : [];
  return lines.filter((line) => line.startsWith('{"batch":')).length;
}
