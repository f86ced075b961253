/** Work that reads what may change meanwhile: who asks while it runs gets another run after it, one for all of them. */
export class OneAtATime<Result> {
  private running: Promise<Result> | undefined;
  private next: Promise<Result> | undefined;

  constructor(private readonly work: () => Promise<Result>) {}

  run(): Promise<Result> {
    if (this.running === undefined) {
      this.running = this.work().finally(() => {
        this.running = undefined;
      });
      return this.running;
    }
    this.next ??= this.ended().then(() => {
      this.next = undefined;
      return this.run();
    });
    return this.next;
  }

  /** Resolves when what runs now has ended, however it did. */
  async ended(): Promise<void> {
    await this.running?.catch(() => undefined);
  }
}
