import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { processesFor, processesOn, readQuota, usableCores, usableMemory } from '../src/cores';

function quotaOf(text: string): number | undefined {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'cgroup-')), 'cpu.max');
  writeFileSync(file, text);
  return readQuota(file);
}

test.each([
  ['max 100000\n', undefined],
  ['250000 100000\n', 2.5],
  ['50000 100000\n', 0.5],
  ['', undefined],
])('cpu.max "%s" allows %s cores', (text, cores) => {
  expect(quotaOf(text)).toBe(cores);
});

test('where there are no control groups there is no quota', () => {
  expect(readQuota('/no/such/file')).toBeUndefined();
});

test.each([
  [undefined, 8, 8],
  [2.5, 8, 2],
  [0.5, 8, 1],
  [16, 8, 8],
])('a quota of %s on %i cores leaves %i', (quota, cores, usable) => {
  expect(usableCores(quota, cores)).toBe(usable);
});

test.each([
  [0, 8e9, 8e9],
  [2e9, 8e9, 2e9],
  [2 ** 64, 8e9, 8e9],
])('a limit of %d bytes on a machine of %d leaves %d', (limit, total, usable) => {
  expect(usableMemory(limit, total)).toBe(usable);
});

test.each([
  ['a core has a process', 2, 24e9, 2],
  ['half of the memory holds fewer than there are cores', 4, 4.2e9, 3],
  ['not even one fits', 4, 0.5e9, 1],
  ['there are very many cores', 64, 256e9, 8],
])('%s: %i cores and %d bytes run %i processes', (_circumstance, cores, memoryBytes, processes) => {
  expect(processesFor(cores, memoryBytes)).toBe(processes);
});

test.each([
  ['cpu', 2, true, 4],
  ['auto', 0, true, 4],
  ['auto', 2, true, 2],
  ['auto', 2, false, 4],
  ['cuda', 2, true, 2],
  ['cuda', 0, true, 1],
  ['cuda:1', 2, true, 1],
  ['webgpu', 0, true, 1],
])('on %s, with %i GPUs, CUDA %s and cores for 4, run %i processes', (device, gpus, hasCuda, processes) => {
  expect(processesOn(device, gpus, hasCuda, 4)).toBe(processes);
});
