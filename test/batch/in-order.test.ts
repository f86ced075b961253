import { setTimeout as sleep } from 'node:timers/promises';
import { inOrder } from '../../src/batch/in-order';

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const value of values) {
    collected.push(value);
  }
  return collected;
}

test.each([1, 2, 3, 10])('results come in the order of their tasks, %d at a time', async (window) => {
  let underWay = 0;
  let most = 0;
  const run = async (ms: number): Promise<number> => {
    underWay += 1;
    most = Math.max(most, underWay);
    await sleep(ms);
    underWay -= 1;
    return ms;
  };
  const tasks = [20, 1, 10, 0, 5];
  await expect(collect(inOrder(tasks, window, run))).resolves.toEqual(tasks);
  expect(most).toBe(Math.min(window, tasks.length));
});

test('no tasks, no results', async () => {
  await expect(collect(inOrder([], 4, () => Promise.resolve(1)))).resolves.toEqual([]);
});
