import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { type Settings, usableCores } from '../config';
import { CUDA_LIBRARY, hasCudaLibrary } from '../cores';
import { listProviders } from '../onnx/device';

/** A line of the doctor's report. */
export interface Finding {
  readonly name: string;
  readonly value: string;
  /** What keeps the server, as it is set, from starting. */
  readonly isFault?: boolean;
}

const run = promisify(execFile);

/** What the machine has, as far as inference depends on it. */
export async function examineHost(): Promise<Finding[]> {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const limit = (await readFile('/sys/fs/cgroup/memory.max', 'utf8').catch(() => 'max')).trim();
  return [
    { name: 'platform', value: `${process.platform} ${process.arch}` },
    { name: 'glibc', value: header.glibcVersionRuntime ?? 'none (2.28 or newer is needed on Linux)' },
    { name: 'Node', value: process.version },
    { name: 'memory', value: `${gigabytes(totalmem())}, limit ${limit === 'max' ? 'none' : gigabytes(Number(limit))}` },
    { name: 'providers', value: listProviders().join(', ') },
    { name: 'CUDA library', value: hasCudaLibrary() ? CUDA_LIBRARY : 'not installed' },
    ...(hasCudaLibrary() ? [{ name: 'CUDA linkage', value: await missingLibraries(CUDA_LIBRARY) }] : []),
    { name: 'NVIDIA GPUs', value: await nvidiaGpus() },
  ];
}

/** How the cores are shared as the server is set. */
export function cores({ inferenceProcesses, intraOpThreads }: Settings): Finding {
  const split = `${inferenceProcesses} inference processes of ${intraOpThreads} threads`;
  return { name: 'cores', value: `${usableCores()} usable of ${availableParallelism()}, for ${split}` };
}

/** What the dynamic linker does not find: of CUDA, cuDNN, or the driver. */
async function missingLibraries(library: string): Promise<string> {
  const listed = await outputOf('ldd', [library]);
  const missing = listed.split('\n').filter((line) => line.includes('not found'));
  return missing.length === 0 ? 'complete' : missing.map((line) => line.trim()).join('; ');
}

async function nvidiaGpus(): Promise<string> {
  const query = ['--query-gpu=index,name,driver_version,memory.total', '--format=csv,noheader'];
  return (await outputOf('nvidia-smi', query)).split('\n').join('; ');
}

async function outputOf(command: string, args: readonly string[]): Promise<string> {
  try {
    return (await run(command, [...args], { timeout: 10_000 })).stdout.trim();
  } catch (error) {
    return `${command} cannot be run (${(error as NodeJS.ErrnoException).code ?? 'failed'})`;
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
