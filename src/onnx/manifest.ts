import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import Ajv2020 from 'ajv/dist/2020';
import type { ElementType } from './tensor';

/** A bundle that must not be served; the message is one sentence that says what differs. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
}

/** A graph's input or output; an axis is a size or the name of a free size (`B` photos, `Q` questions, ...). */
export interface TensorSpec {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly (number | string)[];
}

export interface GraphSpec {
  readonly file: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** Platt's: from the score that the graphs give to the chance that it is right. */
export interface Calibration {
  readonly slope: number;
  readonly intercept: number;
}

export type GraphName = 'detector' | 'prefix' | 'caption' | 'answer';

/**
 * `manifest.json`, the seam between training and server, in its own snake_case names; holds what the server reads.
 * @see models/manifest.schema.json for the rest and for every field's meaning
 */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly files: readonly { readonly path: string; readonly sha256: string; readonly bytes: number }[];
  readonly graphs: Readonly<Record<GraphName, GraphSpec>>;
  /** Files of graphs with the same inputs and outputs that calculate in less; a graph that is not named has none. */
  readonly variants?: { readonly fp16?: Readonly<Partial<Record<GraphName, string>>> };
  readonly image: { readonly height: number; readonly width: number; readonly resampling: 'bilinear' };
  readonly special_tokens: Readonly<Record<'pad' | 'unk' | 'cls' | 'sep' | 'mask', number>>;
  readonly limits: Readonly<
    Record<'question_characters' | 'question_tokens' | 'num_beams' | 'max_tokens' | 'top_k', number>
  >;
  readonly decoding: Readonly<Record<'num_beams' | 'num_captions' | 'max_tokens' | 'top_k' | 'length_penalty', number>>;
  readonly scores: {
    readonly caption: { readonly meaning: string; readonly rank: string; readonly calibration?: Calibration };
    readonly answer: {
      readonly activation: 'sigmoid' | 'softmax';
      readonly meaning: string;
      readonly calibration?: Calibration;
    };
  };
}

const SCHEMA_FILE = path.join(__dirname, '../../models/manifest.schema.json');

/**
 * Reads a bundle's manifest and holds it against the schema; the files it lists are not looked at.
 * @throws BundleError when it is missing, not JSON, or not what the schema asks for.
 */
export async function readManifestFile(directory: string): Promise<{ manifest: Manifest; manifestSha256: string }> {
  const file = path.join(directory, 'manifest.json');
  const text = await readText(file);
  const manifest = parseJson(text, file);
  const schema: unknown = JSON.parse(await readFile(SCHEMA_FILE, 'utf8'));
  const ajv = new Ajv2020({ allowUnionTypes: true });
  const validate = ajv.compile<Manifest>(schema as object);
  if (!validate(manifest)) {
    throw new BundleError(`${file} does not follow its schema: ${ajv.errorsText(validate.errors)}.`);
  }
  return { manifest, manifestSha256: createHash('sha256').update(text).digest('hex') };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new BundleError(`${file} cannot be read; a bundle is a folder with a manifest.json.`, { cause });
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BundleError(`${file} is not valid JSON.`, { cause });
  }
}
