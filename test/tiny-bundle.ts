import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Manifest } from '../src/onnx/manifest';

/** Real graphs with random weights, written by `python -m distillvlm.export.fixture`. */
export const TINY_BUNDLE = path.join(__dirname, 'fixtures/bundle-tiny');

/** Runs `use` on a copy of the tiny bundle that it may break, and removes the copy. */
export async function withBundleCopy(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'bundle-'));
  try {
    await cp(TINY_BUNDLE, directory, { recursive: true });
    await use(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Rewrites a bundle's manifest. */
export async function editManifest(directory: string, edit: (manifest: Manifest) => object): Promise<void> {
  const file = path.join(directory, 'manifest.json');
  const manifest = JSON.parse(await readFile(file, 'utf8')) as Manifest;
  await writeFile(file, JSON.stringify(edit(manifest)));
}
