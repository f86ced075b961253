import { createHash } from 'node:crypto';
import { copyTensor, type Tensor } from '../onnx/tensor';
import { Lru } from './lru';
import type { Objects, Prefix } from './model';

/** What captions and answers are made from. */
export interface Encoding {
  readonly objects: Objects;
  readonly prefix: Prefix;
}

/** Encodings of photos that may be asked about again, within a limit of bytes. */
export class EncodingCache {
  private readonly encodings: Lru<Encoding>;
  private photos = 0;

  /**
   * @param bundle name and version of the model that makes the encodings
   * @param limitBytes 0 keeps nothing
   */
  constructor(
    private readonly bundle: string,
    private readonly limitBytes: number,
  ) {
    this.encodings = new Lru(limitBytes);
  }

  get isOn(): boolean {
    return this.limitBytes > 0;
  }

  /** Equal for equal pixels, and unlike any other where nothing is kept. */
  keyOf(pixels: Uint8Array): string {
    if (!this.isOn) {
      this.photos += 1;
      return String(this.photos);
    }
    return createHash('sha256').update(`${this.bundle}\n`).update(pixels).digest('base64');
  }

  get(key: string): Encoding | undefined {
    return this.encodings.get(key);
  }

  keep(key: string, { objects, prefix }: Encoding): void {
    if (this.isOn) {
      const encoding = { objects: copies(objects), prefix: copies(prefix) };
      this.encodings.set(key, encoding, bytesOf(encoding.objects) + bytesOf(encoding.prefix));
    }
  }
}

/** A row of a batch is a view of the batch's memory, all of which it would keep. */
function copies<T extends Record<keyof T, Tensor>>(tensors: T): T {
  const copied = { ...tensors };
  for (const name of Object.keys(tensors) as (keyof T)[]) {
    copied[name] = copyTensor(tensors[name]);
  }
  return copied;
}

function bytesOf(tensors: object): number {
  return Object.values(tensors as Record<string, Tensor>).reduce((sum, { data }) => sum + data.byteLength, 0);
}
