/** A map that stays within a limit: what has not been asked for longest leaves first. */
export class Lru<Value> {
  /** In the order of use, the latest last. */
  private readonly entries = new Map<string, { readonly value: Value; readonly weight: number }>();
  private totalWeight = 0;

  /** @param limit of the weights together; a value that is heavier by itself is not kept */
  constructor(private readonly limit: number) {}

  get(key: string): Value | undefined {
    const entry = this.entries.get(key);
    if (entry !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, entry);
    }
    return entry?.value;
  }

  set(key: string, value: Value, weight = 1): void {
    this.delete(key);
    if (weight > this.limit) {
      return;
    }
    this.entries.set(key, { value, weight });
    this.totalWeight += weight;
    for (const oldest of this.entries.keys()) {
      if (this.totalWeight <= this.limit) {
        break;
      }
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    this.totalWeight -= this.entries.get(key)?.weight ?? 0;
    this.entries.delete(key);
  }
}
