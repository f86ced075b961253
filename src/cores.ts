import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';

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

/** What a process holds under load with photos of up to 12 MB, its cache of 128 MB included: bench/cores.mjs. */
const PROCESS_BYTES = 700e6;
/** Of the memory, which the server's queue and whatever else runs need too. */
const SHARE_OF_MEMORY = 0.5;
/** More have not been measured. */
const MOST_PROCESSES = 8;

/** Bytes that this process and its children may have; a container's limit counts. */
export function usableMemory(limit = process.constrainedMemory(), total = totalmem()): number {
  return limit > 0 ? Math.min(limit, total) : total;
}

/**
 * How many inference processes share the cores where nobody says so: one for each core, as far as the memory holds them.
 * Two of one thread answer a third more than one of two threads, and a single client waits 7% longer (docs/operations.md).
 */
export function processesFor(cores = usableCores(), memoryBytes = usableMemory()): number {
  const fitting = Math.floor((memoryBytes * SHARE_OF_MEMORY) / PROCESS_BYTES);
  return Math.max(1, Math.min(cores, fitting, MOST_PROCESSES));
}

/** NVIDIA GPUs that the driver shows. */
export function gpuCount(folder = '/proc/driver/nvidia/gpus'): number {
  return existsSync(folder) ? readdirSync(folder).length : 0;
}

/** onnxruntime's half of CUDA. */
export const CUDA_LIBRARY = path.join(
  path.dirname(require.resolve('onnxruntime-node/package.json')),
  `bin/napi-v6/${process.platform}/${process.arch}`,
  process.platform === 'win32' ? 'onnxruntime_providers_cuda.dll' : 'libonnxruntime_providers_cuda.so',
);

/** Whether onnxruntime's half of CUDA is installed, which does not come with the package. */
export function hasCudaLibrary(library = CUDA_LIBRARY): boolean {
  return existsSync(library);
}

/** The same for any device: a GPU is the work of one process. With a driver alone `auto` takes the CPU. */
export function processesOn(
  device: string,
  gpus = gpuCount(),
  hasCuda = hasCudaLibrary(),
  onCpu = processesFor(),
): number {
  const isAnyGpu = device === 'cuda' || (device === 'auto' && gpus > 0 && hasCuda);
  return isAnyGpu ? Math.max(1, gpus) : device === 'cpu' || device === 'auto' ? onCpu : 1;
}
