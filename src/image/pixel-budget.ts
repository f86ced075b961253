/** Lets work on photos run side by side as long as their pixels together stay within a limit; the rest waits its turn. */
export class PixelBudget {
  private inUse = 0;
  private readonly waiting: { readonly pixels: number; readonly start: () => void }[] = [];

  /** @param limit in pixels, of which a format may count some several times; a photo that is larger than all of it runs alone */
  constructor(private readonly limit: number) {}

  async use<Result>(pixels: number, work: () => Promise<Result>): Promise<Result> {
    await new Promise<void>((start) => {
      this.waiting.push({ pixels, start });
      this.startNext();
    });
    try {
      return await work();
    } finally {
      this.inUse -= pixels;
      this.startNext();
    }
  }

  /** First come first served: a large photo is not passed over for ever by small ones. */
  private startNext(): void {
    for (;;) {
      const [next] = this.waiting;
      if (next === undefined || (this.inUse > 0 && this.inUse + next.pixels > this.limit)) {
        return;
      }
      this.waiting.shift();
      this.inUse += next.pixels;
      next.start();
    }
  }
}
