import { setImmediate } from 'node:timers/promises';
import { PixelBudget } from '../../src/image/pixel-budget';

/** Work that a test ends by hand. */
class Work {
  begun = false;
  private finish!: (error?: Error) => void;
  readonly result: Promise<void>;

  constructor(budget: PixelBudget, pixels: number) {
    this.result = budget.use(pixels, () => {
      this.begun = true;
      return new Promise((resolve, reject) => {
        this.finish = (error) => {
          if (error) {
            reject(error);
          } else {
            resolve();
          }
        };
      });
    });
  }

  async end(error?: Error): Promise<void> {
    this.finish(error);
    await Promise.allSettled([this.result]);
    await setImmediate();
  }
}

const begun = (works: readonly Work[]): boolean[] => works.map((work) => work.begun);

test('photos run side by side up to the limit, the others in their order as room comes', async () => {
  const budget = new PixelBudget(10);
  const works = [6, 4, 5, 1].map((pixels) => new Work(budget, pixels));
  await setImmediate();
  expect(begun(works)).toEqual([true, true, false, false]);
  // The fourth would fit and must not pass the third.
  await works[1]?.end();
  expect(begun(works)).toEqual([true, true, false, false]);
  await works[0]?.end();
  expect(begun(works)).toEqual([true, true, true, true]);
});

test('a photo that is larger than the whole runs alone', async () => {
  const budget = new PixelBudget(10);
  const [small, large] = [1, 11].map((pixels) => new Work(budget, pixels));
  await setImmediate();
  expect(large?.begun).toBe(false);
  await small?.end();
  expect(large?.begun).toBe(true);
});

test('a photo that fails gives its room back', async () => {
  const budget = new PixelBudget(1);
  const [broken, next] = [1, 1].map((pixels) => new Work(budget, pixels));
  await setImmediate();
  await broken?.end(new Error('broken'));
  await expect(broken?.result).rejects.toThrow('broken');
  expect(next?.begun).toBe(true);
});
