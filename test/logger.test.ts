import { Writable } from 'node:stream';
import { createLogger, LogOutput } from '../src/logger';

afterEach(() => {
  jest.useRealTimers();
});

/** Keeps what it takes; `fault` is what it says of a write. */
class Device extends Writable {
  taken = '';
  fault: Error | null = null;

  override _write(chunk: Buffer, _encoding: string, done: (error: Error | null) => void): void {
    if (this.fault === null) {
      this.taken += chunk.toString();
    }
    done(this.fault);
  }

  /** As standard output does: it can be written to again. */
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    done(error);
    Reflect.apply(Reflect.get(this, '_undestroy') as () => void, this, []);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('lines that the device does not take are counted and told of once; later lines stand alone', async () => {
  const device = new Device();
  const reasons: string[] = [];
  const output = new LogOutput(device, (reason) => reasons.push(reason));
  const logger = createLogger('info', output);
  logger.info({ event: 'first' });
  device.fault = new Error('no space left');
  for (let n = 0; n < 3; n += 1) {
    logger.info({ event: 'lost' });
    await turn();
  }
  device.fault = null;
  logger.info({ event: 'last' });
  await output.flush();
  expect(device.taken).toMatch(/^\{.*"event":"first"\}\n\n\{.*"event":"last"\}\n$/);
  expect(output.droppedLines).toBe(3);
  expect(reasons).toEqual(['no space left']);
});

test('for a reader that takes nothing a megabyte waits, the rest is dropped, and the end comes all the same', async () => {
  jest.useFakeTimers();
  const stuck = new Writable({ write: () => undefined });
  const output = new LogOutput(stuck);
  const line = 'x'.repeat(100_000);
  for (let n = 0; n < 20; n += 1) {
    output.write(line);
  }
  // The eleventh line is the first that exceeds it.
  expect([stuck.writableLength, output.droppedLines]).toEqual([1_100_000, 9]);
  const flushed = output.flush();
  await jest.advanceTimersByTimeAsync(1_000);
  await expect(flushed).resolves.toBeUndefined();
});
