import { Bundle } from '../../src/onnx/bundle';
import { readManifestFile } from '../../src/onnx/manifest';
import { precisionOn, precisionsOf, requirePrecision } from '../../src/onnx/precision';
import { Session } from '../../src/onnx/session';
import { editManifest, withBundleCopy } from '../tiny-bundle';

test.each([
  ['cuda:0', 'auto', ['fp32', 'fp16'], 'fp16'],
  ['cuda:0', 'auto', ['fp32'], 'fp32'],
  ['cuda:0', 'fp32', ['fp32', 'fp16'], 'fp32'],
  ['cpu', 'auto', ['fp32', 'fp16'], 'fp32'],
  ['cpu', 'fp16', ['fp32', 'fp16'], 'fp16'],
] as const)('on %s, PRECISION=%s with %j calculates in %s', (device, wish, available, precision) => {
  expect(precisionOn(device, wish, available)).toBe(precision);
});

test('a graph that the variant names is taken from it, the others are as they are', async () => {
  await withBundleCopy(async (directory) => {
    await editManifest(directory, (manifest) => ({ ...manifest, variants: { fp16: { prefix: 'prefix-fp16.onnx' } } }));
    const bundle = await Bundle.open(directory);
    expect(precisionsOf(bundle.manifest)).toEqual(['fp32', 'fp16']);
    expect(bundle.graph('prefix', 'fp16').file).toBe('prefix-fp16.onnx');
    expect(bundle.graph('prefix', 'fp32').file).toBe('prefix.onnx');
    expect(bundle.graph('answer', 'fp16').file).toBe('answer.onnx');
  });
});

test('the graphs of a variant are held against the manifest as all others are', async () => {
  await withBundleCopy(async (directory) => {
    await editManifest(directory, (manifest) => ({ ...manifest, variants: { fp16: { prefix: 'answer-fp16.onnx' } } }));
    const bundle = await Bundle.open(directory);
    const options = { threads: 1, executionProviders: ['cpu'], precision: 'fp16' } as const;
    await expect(Session.load(bundle, 'prefix', options)).rejects.toThrow(/^The inputs of answer-fp16\.onnx are /);
  });
});

test('fp16 of a bundle that has none is refused', async () => {
  await withBundleCopy(async (directory) => {
    await editManifest(directory, (manifest) => ({ ...manifest, variants: undefined }));
    const { manifest } = await readManifestFile(directory);
    expect(() => {
      requirePrecision('fp16', manifest);
    }).toThrow('The bundle tiny has no graphs for fp16; set PRECISION=auto.');
  });
});
