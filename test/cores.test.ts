import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readQuota, usableCores } from '../src/cores';

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
