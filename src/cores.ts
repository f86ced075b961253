import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** A control group's quota of CPU time, such as a container's: microseconds of each period, or "max". */
const CPU_MAX = '/sys/fs/cgroup/cpu.max';

/** Cores' worth of CPU time that this process may take, at least 1; Node itself leaves a container's limit out. */
export function usableCores(quota = readQuota(CPU_MAX), cores = availableParallelism()): number {
  return Math.max(1, Math.min(cores, Math.floor(quota ?? cores)));
}

/** @returns cores, or nothing where there is no limit */
export function readQuota(file: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // Another system, or an older kind of control group.
    return undefined;
  }
  const [quota, period] = text.trim().split(' ').map(Number);
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : undefined;
}
