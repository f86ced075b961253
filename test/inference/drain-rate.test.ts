import { EventEmitter } from 'node:events';
import { DrainRate } from '../../src/inference/drain-rate';
import type { InferenceEvents } from '../../src/inference/events';

test('before the first batch, come again in a second', () => {
  expect(new DrainRate().secondsUntilDone(100)).toBe(1);
});

test('what waits, at the pace of the batches so far, on all processes', () => {
  const rate = new DrainRate();
  // 8 photos in 4 s on each of two processes: one photo in 250 ms.
  rate.record(8, 4_000, 2);
  expect(rate.secondsUntilDone(20)).toBe(5);
  expect(rate.secondsUntilDone(21)).toBe(6);
});

test('newer batches count more, and one outlier does not decide', () => {
  const rate = new DrainRate();
  rate.record(1, 1_000, 1);
  rate.record(1, 11_000, 1);
  expect(rate.secondsUntilDone(10)).toBe(30);
});

test('at most a minute', () => {
  const rate = new DrainRate();
  rate.record(1, 10_000, 1);
  expect(rate.secondsUntilDone(1_000)).toBe(60);
});

test('the pace of the warm-up stands until the first batch, and does not count after it', () => {
  const events = new EventEmitter<InferenceEvents>();
  const rate = DrainRate.of(events);
  expect(rate.msUntilDone(4)).toBe(0);
  events.emit('processReady', { slot: 0, msPerUnit: 500, device: { name: 'cpu' } });
  expect(rate.msUntilDone(4)).toBe(2_000);
  events.emit('batchEnded', { units: 8, ms: 1_600, processes: 2 });
  // 8 units in 1.6 s on each of two processes: one in 100 ms.
  expect(rate.msUntilDone(10)).toBe(1_000);
});
