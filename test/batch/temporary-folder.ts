import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A folder for each test of a file, removed after it. */
export function temporaryFolder(): (...names: string[]) => string {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'score-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });
  return (...names) => path.join(folder, ...names);
}
