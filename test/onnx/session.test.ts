import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Bundle } from '../../src/onnx/bundle';
import type { GraphSpec, Manifest, TensorSpec } from '../../src/onnx/manifest';
import { Session } from '../../src/onnx/session';
import { scalar } from '../../src/onnx/tensor';
import { editManifest, TINY_BUNDLE, withBundleCopy } from '../tiny-bundle';

const OPTIONS = { threads: 1, executionProviders: ['cpu'] } as const;

async function loadEdited(edit: (manifest: Manifest) => object): Promise<void> {
  await withBundleCopy(async (directory) => {
    await editManifest(directory, edit);
    await Session.load(await Bundle.open(directory), 'prefix', OPTIONS);
  });
}

function withPrefix(manifest: Manifest, edit: (graph: GraphSpec) => GraphSpec): Manifest {
  return { ...manifest, graphs: { ...manifest.graphs, prefix: edit(manifest.graphs.prefix) } };
}

const FIRST = (tensors: readonly TensorSpec[], change: Partial<TensorSpec>): TensorSpec[] =>
  tensors.map((tensor, n) => (n === 0 ? { ...tensor, ...change } : tensor));

const DIFFERENCES: [string, (graph: GraphSpec) => GraphSpec, RegExp][] = [
  [
    'another name of an input',
    (graph) => ({ ...graph, inputs: FIRST(graph.inputs, { name: 'corners' }) }),
    /^The inputs of prefix\.onnx are boxes float32 .* where the manifest says corners float32 /,
  ],
  [
    'another type of an input',
    (graph) => ({ ...graph, inputs: FIRST(graph.inputs, { type: 'int64' }) }),
    /where the manifest says boxes int64 /,
  ],
  [
    'another size of an input',
    (graph) => ({ ...graph, inputs: FIRST(graph.inputs, { shape: ['batch', 7, 4] }) }),
    /are boxes float32 \[batch, 12, 4\].* where the manifest says boxes float32 \[batch, 7, 4\]/,
  ],
  [
    'one output more',
    (graph) => ({ ...graph, outputs: [...graph.outputs, { name: 'more', type: 'bool', shape: [] }] }),
    /^The outputs of prefix\.onnx are .* where the manifest says .*more bool \[\]/,
  ],
  [
    'one output less',
    (graph) => ({ ...graph, outputs: graph.outputs.slice(1) }),
    /^The outputs of prefix\.onnx are prefix_keys/,
  ],
];

test.each(DIFFERENCES)('%s than the graph has is refused', async (_what, edit, sentence) => {
  await expect(loadEdited((manifest) => withPrefix(manifest, edit))).rejects.toMatchObject({
    name: 'BundleError',
    message: expect.stringMatching(sentence) as string,
  });
});

test('a graph that is no graph is refused, however well its checksum fits', async () => {
  await withBundleCopy(async (directory) => {
    const content = 'not a graph';
    await writeFile(path.join(directory, 'prefix.onnx'), content);
    const sha256 = createHash('sha256').update(content).digest('hex');
    await editManifest(directory, ({ files, ...manifest }) => ({
      ...manifest,
      files: files.map((file) => (file.path === 'prefix.onnx' ? { ...file, bytes: content.length, sha256 } : file)),
    }));
    const bundle = await Bundle.open(directory);
    await expect(Session.load(bundle, 'prefix', OPTIONS)).rejects.toThrow(
      /^prefix\.onnx cannot be loaded by onnxruntime: /,
    );
  });
});

test('an output that is asked for as another type is an error', async () => {
  const bundle = await Bundle.open(TINY_BUNDLE);
  const session = await Session.load(bundle, 'detector', OPTIONS);
  const { height, width } = bundle.manifest.image;
  const pixels = { type: 'uint8', data: new Uint8Array(height * width * 3), dims: [1, height, width, 3] } as const;
  const outputs = await session.run({ pixels });
  expect(outputs.get('valid', 'bool').data).toHaveLength(12);
  expect(() => outputs.get('boxes', 'int64')).toThrow(
    'Expected output boxes of detector.onnx as int64 but received float32',
  );
  await expect(session.run({ pixels: scalar(1) })).rejects.toThrow();
});
