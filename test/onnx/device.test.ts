import { deviceOf, loadOnDevice, providersOf } from '../../src/onnx/device';
import type { ExecutionProvider } from '../../src/onnx/session';

const NO_CUDA = 'Failed to load shared library';

/** Loads on the CPU only, as onnxruntime does where CUDA is not installed. */
function onlyCpu(providers: ExecutionProvider[]): Promise<string> {
  return providers.length === 1 ? Promise.resolve('loaded') : Promise.reject(new Error(NO_CUDA));
}

test.each([
  ['cuda', 0, 'cuda:0'],
  ['cuda', 3, 'cuda:1'],
  ['auto', 1, 'cuda:1'],
  ['cuda:1', 0, 'cuda:1'],
  ['cpu', 1, 'cpu'],
  ['webgpu', 1, 'webgpu'],
])('of two GPUs, for %s process %i takes %s', (wish, slot, device) => {
  expect(deviceOf(wish, slot, 2)).toBe(device);
});

test('onnxruntime is told the number of a GPU, and the CPU for what a GPU cannot run', () => {
  expect(providersOf('cuda:1')).toEqual([{ name: 'cuda', deviceId: 1 }, 'cpu']);
  expect(providersOf('webgpu')).toEqual(['webgpu', 'cpu']);
  expect(providersOf('cpu')).toEqual(['cpu']);
});

test('auto takes a GPU that works', async () => {
  const { loaded, device } = await loadOnDevice('auto', 0, (providers) => Promise.resolve(providers), true);
  expect(loaded).toEqual([{ name: 'cuda', deviceId: 0 }, 'cpu']);
  expect(device).toEqual({ name: 'cuda:0' });
});

test.each([
  [true, NO_CUDA],
  [false, "onnxruntime's CUDA library is not installed"],
])('auto takes the CPU where CUDA does not work, and says why (library there: %s)', async (hasCuda, reason) => {
  const { loaded, device } = await loadOnDevice('auto', 0, onlyCpu, hasCuda);
  expect(loaded).toBe('loaded');
  expect(device.name).toBe('cpu');
  expect(device.fallback).toContain(reason);
});

test.each(['cuda', 'cuda:0', 'webgpu'])('%s that is not there is an error with the remedy', async (wish) => {
  await expect(loadOnDevice(wish, 0, onlyCpu, true)).rejects.toMatchObject({
    name: 'BundleError',
    message: expect.stringMatching(
      new RegExp(`^The device ${wish}.* cannot be used: ${NO_CUDA}.*DEVICE=cpu\\.$`),
    ) as string,
  });
});

test('what the CPU cannot load is no fault of the device', async () => {
  const broken = new Error('prefix.onnx is damaged');
  await expect(loadOnDevice('cpu', 0, () => Promise.reject(broken))).rejects.toBe(broken);
});
