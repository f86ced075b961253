import { execFile } from 'node:child_process';
import path from 'node:path';
import { devicesToTry } from '../../src/doctor/trial';
import { TINY_BUNDLE, withBundleCopy } from '../tiny-bundle';
import { rm } from 'node:fs/promises';

/** Runs the command as `npm run doctor` does. */
function doctor(environment: Record<string, string>): Promise<{ code: number; report: string }> {
  const options = { cwd: path.join(__dirname, '../..'), env: { PATH: process.env['PATH'], ...environment } };
  return new Promise((resolve) => {
    execFile('node', ['dist/doctor/main.js'], options, (error, stdout) => {
      resolve({ code: error === null ? 0 : Number(error.code), report: stdout });
    });
  });
}

test('a host that can serve: what it has, the bundle, and a caption on the CPU', async () => {
  const { code, report } = await doctor({ MODEL_DIR: TINY_BUNDLE });
  expect(code).toBe(0);
  expect(report).toContain(`platform: ${process.platform} ${process.arch}`);
  expect(report).toMatch(/Node: v\d+/);
  expect(report).toMatch(/cores: \d+ usable of \d+, for \d+ inference processes of \d+ threads/);
  expect(report).toMatch(/providers: cpu/);
  expect(report).toMatch(/bundle .*bundle-tiny: tiny@1\.0\.0, \d+ files/);
  expect(report).toMatch(/caption on cpu: ".*", log-probability -\d+\.\d{3}, \d+ ms/);
  expect(report).not.toContain('FAULT');
});

test('a device that is asked for and not there is a fault with its remedy', async () => {
  const { code, report } = await doctor({ MODEL_DIR: TINY_BUNDLE, DEVICE: 'cuda:0' });
  expect(code).toBe(1);
  expect(report).toMatch(/FAULT caption on cuda:0: .*set DEVICE=cpu/);
});

test('a bundle with a file missing is a fault that names the file', async () => {
  await withBundleCopy(async (directory) => {
    await rm(path.join(directory, 'labels.json'));
    const { code, report } = await doctor({ MODEL_DIR: directory });
    expect(code).toBe(1);
    expect(report).toMatch(/FAULT bundle .*: labels\.json is listed in the manifest but missing/);
  });
});

test.each([
  ['auto', false, ['cpu']],
  ['auto', true, ['cpu', 'cuda:0']],
  ['cuda:1', true, ['cpu', 'cuda:0', 'cuda:1']],
  ['cpu', false, ['cpu']],
])('with DEVICE=%s, CUDA installed: %s, a caption is tried on %j', (wish, hasCuda, devices) => {
  expect(devicesToTry(wish, hasCuda)).toEqual(devices);
});
