/** Where a batch stands in a journal. */
export interface Place {
  readonly offset: number;
  /** At least 1. */
  readonly bytes: number;
  /** Of its rows those that have a problem. */
  readonly failed: number;
}

const FIRST_CAPACITY = 1_024;

/** The places of batches by their number: 16 bytes each, where a map of objects takes some 250. */
export class JournalPlaces {
  private offsets = new Float64Array(FIRST_CAPACITY);
  /** 0 where there is no batch. */
  private bytes = new Uint32Array(FIRST_CAPACITY);
  private failed = new Uint32Array(FIRST_CAPACITY);
  private sumOfFailed = 0;

  get failedRows(): number {
    return this.sumOfFailed;
  }

  has(batch: number): boolean {
    return (this.bytes[batch] ?? 0) > 0;
  }

  get(batch: number): Place | undefined {
    const [offset = 0, bytes = 0, failed = 0] = [this.offsets[batch], this.bytes[batch], this.failed[batch]];
    return bytes > 0 ? { offset, bytes, failed } : undefined;
  }

  set(batch: number, { offset, bytes, failed }: Place): void {
    this.reach(batch);
    this.sumOfFailed += failed - (this.failed[batch] ?? 0);
    this.offsets[batch] = offset;
    this.bytes[batch] = bytes;
    this.failed[batch] = failed;
  }

  private reach(batch: number): void {
    const capacity = this.bytes.length;
    if (batch >= capacity) {
      const wanted = Math.max(batch + 1, 2 * capacity);
      this.offsets = grown(this.offsets, new Float64Array(wanted));
      this.bytes = grown(this.bytes, new Uint32Array(wanted));
      this.failed = grown(this.failed, new Uint32Array(wanted));
    }
  }
}

function grown<Numbers extends Float64Array | Uint32Array>(from: Numbers, to: Numbers): Numbers {
  to.set(from);
  return to;
}
