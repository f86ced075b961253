import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BundleError, type GraphName, type GraphSpec, type Manifest, readManifestFile } from './manifest';
import type { Precision } from './precision';

/** Where a bundle lies, and which it is. */
export interface BundleSource {
  readonly directory: string;
  /** SHA-256 of its manifest, in hex, which has those of all other files; another bundle in the folder is refused. */
  readonly manifestSha256?: string;
}

/** A bundle whose files are exactly those that its manifest lists. */
export class Bundle {
  private constructor(
    readonly directory: string,
    readonly manifest: Manifest,
    /** As in `BundleSource`. */
    readonly manifestSha256: string,
  ) {}

  /**
   * Reads the manifest and verifies the size and SHA-256 of every file that it lists.
   * @throws BundleError naming the first file that is missing, changed, or outside the folder.
   */
  static async open(directory: string, expectedSha256?: string): Promise<Bundle> {
    const { manifest, manifestSha256 } = await readManifestFile(directory);
    if (expectedSha256 !== undefined && manifestSha256 !== expectedSha256) {
      throw new BundleError(`Another bundle lies in ${directory} than the one that is served; reload the server.`);
    }
    const bundle = new Bundle(path.resolve(directory), manifest, manifestSha256);
    for (const file of bundle.manifest.files) {
      await verifyFile(bundle.directory, file);
    }
    return bundle;
  }

  /**
   * Absolute path of one of the listed files.
   * @throws BundleError for a file that the manifest does not list: nobody has verified it.
   */
  path(file: string): string {
    if (!this.manifest.files.some((listed) => listed.path === file)) {
      throw new BundleError(`${file} is used but not listed in the files of the manifest.`);
    }
    return path.join(this.directory, file);
  }

  /** A graph, in fp16 where there is one and that is asked for. */
  graph(name: GraphName, precision: Precision): GraphSpec {
    const { graphs, variants } = this.manifest;
    const file = precision === 'fp16' ? variants?.fp16?.[name] : undefined;
    return { ...graphs[name], ...(file !== undefined && { file }) };
  }

  async readJson(file: string): Promise<unknown> {
    return JSON.parse(await readFile(this.path(file), 'utf8'));
  }
}

async function verifyFile(directory: string, listed: Manifest['files'][number]): Promise<void> {
  const file = path.join(directory, listed.path);
  let real: string;
  try {
    real = await realpath(file);
  } catch (cause) {
    throw new BundleError(`${listed.path} is listed in the manifest but missing.`, { cause });
  }
  // The schema keeps dots out of paths; a symbolic link can still lead elsewhere.
  if (real !== path.join(await realpath(directory), listed.path)) {
    throw new BundleError(`${listed.path} leads out of the bundle through a symbolic link.`);
  }
  const { size } = await stat(file);
  if (size !== listed.bytes) {
    throw new BundleError(`${listed.path} has ${size} bytes where the manifest says ${listed.bytes}.`);
  }
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const sha256 = hash.digest('hex');
  if (sha256 !== listed.sha256) {
    throw new BundleError(`${listed.path} has SHA-256 ${sha256} where the manifest says ${listed.sha256}.`);
  }
}
