import { RateWindows } from '../../src/http/rate-window';

let nowMs: number;
let windows: RateWindows;

beforeEach(() => {
  nowMs = 5_000;
  windows = new RateWindows(1_000, () => nowMs);
});
afterEach(() => {
  jest.useRealTimers();
});

const hits = (key: string): number => windows.increment(key).totalHits;

test('each client is counted in a window of its own, which begins with its first request', () => {
  expect([hits('a'), hits('a')]).toEqual([1, 2]);
  nowMs += 600;
  expect([hits('a'), hits('b')]).toEqual([3, 1]);
  nowMs += 400;
  expect([hits('a'), hits('b')]).toEqual([1, 2]);
  nowMs += 600;
  expect([hits('a'), hits('b')]).toEqual([2, 1]);
});

test.each([3_600_000, -3_600_000])('a wall clock set %i ms off changes neither the count nor the wait', (stepMs) => {
  jest.useFakeTimers({ now: 1e12 });
  hits('a');
  jest.setSystemTime(1e12 + stepMs);
  nowMs += 250;
  const { totalHits, resetTime } = windows.increment('a');
  expect(totalHits).toBe(2);
  expect(resetTime?.getTime()).toBe(1e12 + stepMs + 750);
});
