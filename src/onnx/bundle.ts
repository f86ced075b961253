import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BundleError, type Manifest, readManifest } from './manifest';

/** A bundle whose files are exactly those that its manifest lists. */
export class Bundle {
  private constructor(
    readonly directory: string,
    readonly manifest: Manifest,
  ) {}

  /**
   * Reads the manifest and verifies the size and SHA-256 of every file that it lists.
   * @throws BundleError naming the first file that is missing, changed, or outside the folder.
   */
  static async open(directory: string): Promise<Bundle> {
    const bundle = new Bundle(path.resolve(directory), await readManifest(directory));
    for (const file of bundle.manifest.files) {
      await verifyFile(bundle.path(file.path), file);
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

  async readJson(file: string): Promise<unknown> {
    return JSON.parse(await readFile(this.path(file), 'utf8'));
  }
}

async function verifyFile(file: string, listed: Manifest['files'][number]): Promise<void> {
  await refuseOutside(file, listed.path);
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

/** A listed path may not leave the bundle, neither by its text nor through a symbolic link. */
async function refuseOutside(file: string, listedPath: string): Promise<void> {
  const directory = file.slice(0, -path.normalize(listedPath).length);
  if (path.isAbsolute(listedPath) || listedPath.split(/[\\/]/).includes('..')) {
    throw new BundleError(`${listedPath} leads out of the bundle.`);
  }
  let real: string;
  try {
    real = await realpath(file);
  } catch (cause) {
    throw new BundleError(`${listedPath} is listed in the manifest but missing.`, { cause });
  }
  if (real !== path.join(await realpath(directory), listedPath)) {
    throw new BundleError(`${listedPath} is a symbolic link or lies behind one, which a bundle may not have.`);
  }
}
