// Runs of `score` and what they cost, for the benchmarks of scoring.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { makePhotos } from '../load/photos.mjs';

const SCORE = path.join(import.meta.dirname, '..', '..', 'dist', 'batch', 'main.js');
const TICKS_PER_SECOND = 100; // Linux's USER_HZ

export const bundle = path.resolve(process.env.MODEL_DIR ?? 'models/photos');

/** @param given a folder of photos; without one they are made */
export async function collectionOf(work, count, given) {
  const folder = given ?? path.join(work, 'photos');
  if (given === undefined) {
    await mkdir(folder);
    await makePhotos(folder, count);
  }
  return { folder, photos: Math.min(count, (await readdir(folder)).length) };
}

export function runScore({ work, folder, workers, batch, limit, question }) {
  const output = path.join(work, 'out.jsonl');
  const sizes = ['--workers', workers, '--batch-size', batch, '--limit', limit].map(String);
  const asked = question === undefined ? [] : ['--question', question];
  const args = [SCORE, 'score', folder, '--out', output, '--bundle', bundle, '--restart', ...sizes, ...asked];
  return costOf([args]);
}

/** What Node's processes with these arguments, side by side, and all that they start take. */
export async function costOf(commands) {
  const [startMs, before] = [performance.now(), cpuSecondsOfChildren()];
  const processes = commands.map((args) => spawn(process.execPath, args, { stdio: 'ignore' }));
  await Promise.all(
    processes.map(async (each) => {
      const [code] = await once(each, 'exit');
      if (code !== 0) {
        throw new Error(`${each.spawnargs.join(' ')} ended with ${code}`);
      }
    }),
  );
  return { seconds: (performance.now() - startMs) / 1e3, cpuSeconds: cpuSecondsOfChildren() - before };
}

/** Of those that have ended, and of theirs. */
function cpuSecondsOfChildren() {
  const text = readFileSync('/proc/self/stat', 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
