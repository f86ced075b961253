import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { Row } from '../item';
import { RunError } from '../errors';
import type { Writer } from './results-file';

export const SIDECARS = ['txt', 'xmp'] as const;
export type SidecarKind = (typeof SIDECARS)[number];

/** Beside the photo, named after the whole of it: `a.jpg` and `a.png` have one each. */
export function sidecarOf(image: string, kind: SidecarKind): string {
  return `${image}.${kind}`;
}

/** Whether there is one from before `beforeMs`: in milliseconds since 1970, by the clock of the files. */
export async function hasSidecar(image: string, kind: SidecarKind, beforeMs: number): Promise<boolean> {
  const there = await stat(sidecarOf(image, kind)).catch(() => undefined);
  return there !== undefined && there.mtimeMs < beforeMs;
}

/** Writes a photo's caption beside it. A file of that name that says something else is somebody's work: it stays. */
export class Sidecars implements Writer {
  private readonly foreign: string[] = [];

  constructor(
    private readonly kind: SidecarKind,
    private readonly overwrite: boolean,
  ) {}

  async write(rows: readonly Row[]): Promise<void> {
    // One after the other: a photo may be there twice.
    for (const row of rows) {
      await this.writeOne(row);
    }
  }

  /** @throws RunError when files were left as they are */
  finish(): Promise<void> {
    const [first] = this.foreign;
    if (first !== undefined) {
      const what = `${this.foreign.length} files are there already and say something else, the first of them ${first}`;
      return Promise.reject(new RunError(`${what}; --overwrite replaces them, everything else is written.`));
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private async writeOne({ image, caption }: Row): Promise<void> {
    if (caption === undefined) {
      return;
    }
    const file = sidecarOf(image, this.kind);
    const content = this.kind === 'txt' ? `${caption}\n` : xmpOf(caption);
    const there = await readFile(file, 'utf8').catch(() => undefined);
    if (there === content) {
      return;
    }
    if (there !== undefined && !this.overwrite) {
      this.foreign.push(file);
      return;
    }
    // What a killed run leaves has the name by which the next one replaces it.
    const partial = `${file}.partial`;
    try {
      await writeFile(partial, content);
      await rename(partial, file);
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
  }
}

/** @see Adobe XMP specification, part 1: Dublin Core's description */
function xmpOf(caption: string): string {
  const text = caption.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return `<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">${text}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
`;
}
