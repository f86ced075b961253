import { setTimeout as sleep } from 'node:timers/promises';
import { asCompleted, inOrder } from '../../src/batch/in-order';
import { collect } from './collect';

const TASKS = [40, 1, 20, 0, 10];

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
  await expect(collect(inOrder(TASKS, window, run))).resolves.toEqual(TASKS);
  expect(most).toBe(Math.min(window, TASKS.length));
});

test('as completed, every result comes once, the quick before the slow', async () => {
  const results = await collect(asCompleted(TASKS, 3, (ms) => sleep(ms, ms)));
  expect([...results].sort()).toEqual([...TASKS].sort());
  expect(results[0]).not.toBe(TASKS[0]);
});

test.each([inOrder, asCompleted])('no tasks, no results: %p', async (each) => {
  await expect(collect(each([], 4, () => Promise.resolve(1)))).resolves.toEqual([]);
});

test.each([inOrder, asCompleted])('a task that fails ends it, even if it fails before its turn: %p', async (each) => {
  const run = async (ms: number): Promise<number> => {
    await sleep(ms);
    if (ms === 1) {
      throw new Error('broken');
    }
    return ms;
  };
  await expect(collect(each(TASKS, 3, run))).rejects.toThrow('broken');
});
