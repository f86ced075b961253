import { readFileSync } from 'node:fs';
import path from 'node:path';

const GOLDEN = path.join(__dirname, 'golden');

/** A file that `python -m distillvlm.export.golden` wrote. */
export function readGolden(name: 'pixels.json' | 'tokens.json' | 'predictions.json' | 'scores.json'): unknown {
  return JSON.parse(readFileSync(path.join(GOLDEN, name), 'utf8'));
}

export function goldenImage(name: string): Buffer {
  return readFileSync(path.join(GOLDEN, 'images', name));
}
