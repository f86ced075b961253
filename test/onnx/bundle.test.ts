import { appendFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Bundle } from '../../src/onnx/bundle';
import { editManifest, TINY_BUNDLE, withBundleCopy } from '../tiny-bundle';

test('a bundle as it was written opens', async () => {
  const bundle = await Bundle.open(TINY_BUNDLE);
  expect(bundle.manifest.name).toBe('tiny');
  expect(await bundle.readJson('answers.json')).toContain('yes');
});

test('a file that the manifest does not list is not handed out', async () => {
  const bundle = await Bundle.open(TINY_BUNDLE);
  expect(() => bundle.path('manifest.json')).toThrow('manifest.json is used but not listed');
});

const DAMAGE: [string, (directory: string) => Promise<void>, RegExp][] = [
  [
    'a changed byte',
    async (directory) => {
      const file = path.join(directory, 'weights.bin');
      await truncate(file, 262079);
      await appendFile(file, '!');
    },
    /^weights\.bin has SHA-256 [0-9a-f]{64} where the manifest says [0-9a-f]{64}\.$/,
  ],
  [
    'a file cut short',
    (directory) => truncate(path.join(directory, 'prefix.onnx'), 100),
    /^prefix\.onnx has 100 bytes where the manifest says \d+\.$/,
  ],
  [
    'a missing file',
    (directory) => rm(path.join(directory, 'tokenizer.json')),
    /^tokenizer\.json is listed in the manifest but missing\.$/,
  ],
  [
    'a symbolic link to another place, even to an equal file',
    async (directory) => {
      const file = path.join(directory, 'labels.json');
      await rm(file);
      await symlink(path.join(TINY_BUNDLE, 'labels.json'), file);
    },
    /^labels\.json leads out of the bundle through a symbolic link\.$/,
  ],
  [
    'a folder that is a symbolic link',
    async (directory) => {
      await symlink(TINY_BUNDLE, path.join(directory, 'elsewhere'));
      await editManifest(directory, ({ files, ...manifest }) => ({
        ...manifest,
        files: files.map((file) => ({ ...file, path: `elsewhere/${file.path}` })),
      }));
    },
    /leads out of the bundle through a symbolic link/,
  ],
  [
    'a path upwards',
    async (directory) => {
      await editManifest(directory, ({ files, ...manifest }) => ({
        ...manifest,
        files: files.map((file) => ({ ...file, path: `../${file.path}` })),
      }));
    },
    /does not follow its schema: .*files\/0\/path must match pattern/,
  ],
  [
    'an absolute path',
    (directory) =>
      editManifest(directory, ({ files, ...manifest }) => ({
        ...manifest,
        files: files.map((file) => ({ ...file, path: path.join(TINY_BUNDLE, file.path) })),
      })),
    /does not follow its schema: .*files\/0\/path must match pattern/,
  ],
  [
    'a manifest without a field',
    (directory) => editManifest(directory, (manifest) => ({ ...manifest, limits: undefined })),
    /does not follow its schema: .*must have required property 'limits'/,
  ],
  [
    'a format of later days',
    (directory) => editManifest(directory, (manifest) => ({ ...manifest, format_version: 2 })),
    /does not follow its schema: .*format_version must be equal to constant/,
  ],
  [
    'a manifest that is not JSON',
    (directory) => writeFile(path.join(directory, 'manifest.json'), '{'),
    /manifest\.json is not valid JSON\.$/,
  ],
  [
    'no manifest',
    (directory) => rename(path.join(directory, 'manifest.json'), path.join(directory, 'manifest')),
    /manifest\.json cannot be read; a bundle is a folder with a manifest\.json\.$/,
  ],
];

test.each(DAMAGE)('%s is refused with a sentence that says what differs', async (_what, damage, sentence) => {
  await withBundleCopy(async (directory) => {
    await damage(directory);
    await expect(Bundle.open(directory)).rejects.toMatchObject({
      name: 'BundleError',
      message: expect.stringMatching(sentence) as string,
    });
  });
});
