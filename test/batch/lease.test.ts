import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lease } from '../../src/batch/lease';
import { temporaryFolder } from './temporary-folder';

const at = temporaryFolder();
const TIMES = { beatMs: 40, expiryMs: 200 };
const FOREIGN = 'another-boot net:[1] 12ab\n';

const take = (): Promise<Lease | undefined> => Lease.take(at('lock'), TIMES);

beforeEach(() => {
  jest.spyOn(process.stderr, 'write').mockReturnValue(true);
});

async function taken(): Promise<Lease> {
  const lease = await take();
  if (lease === undefined) {
    throw new Error('Expected a lease');
  }
  return lease;
}

test('is touched while it is held, and gone when it is released', async () => {
  const lease = await taken();
  const { mtimeMs } = statSync(at('lock'));
  await sleep(3 * TIMES.beatMs);
  expect(statSync(at('lock')).mtimeMs).toBeGreaterThan(mtimeMs);
  await lease.requireHeld();
  await lease.release();
  expect(existsSync(at('lock'))).toBe(false);
});

test("a run elsewhere that gives signs of life keeps it; a dead one's is taken when it has expired", async () => {
  writeFileSync(at('lock'), FOREIGN);
  const beats = setInterval(() => {
    utimesSync(at('lock'), new Date(), new Date());
  }, TIMES.beatMs);
  await expect(take()).resolves.toBeUndefined();
  clearInterval(beats);
  expect(readFileSync(at('lock'), 'utf8')).toBe(FOREIGN);

  const startedMs = performance.now();
  const lease = await taken();
  expect(performance.now() - startedMs).toBeGreaterThan(TIMES.expiryMs);
  await lease.release();
});

test('that of a dead run on this machine is taken at once', async () => {
  const dead = await taken();
  const content = readFileSync(at('lock'), 'utf8');
  await dead.release();
  writeFileSync(at('lock'), content);
  const startedMs = performance.now();
  const lease = await taken();
  expect(performance.now() - startedMs).toBeLessThan(TIMES.expiryMs);
  expect(readFileSync(at('lock'), 'utf8')).not.toBe(content);
  await lease.release();
});

test('of several that find a dead one, one at most has it', async () => {
  writeFileSync(at('lock'), FOREIGN);
  const leases = (await Promise.all([take(), take(), take()])).filter((lease) => lease !== undefined);
  expect(leases.length).toBeLessThanOrEqual(1);
  await Promise.all(leases.map((lease) => lease.release()));
});

test.each<[string, () => void, RegExp]>([
  [
    'another run has taken',
    () => {
      writeFileSync(at('lock'), FOREIGN);
    },
    /lock, which keeps other runs away, is lost: another run has taken it\.$/,
  ],
  [
    'is gone',
    () => {
      rmSync(at('lock'));
    },
    /is lost: ENOENT/,
  ],
])('one that %s is not held any more, and not released', async (_what, lose, sentence) => {
  const lease = await taken();
  lose();
  await sleep(TIMES.expiryMs);
  await expect(lease.requireHeld()).rejects.toThrow(sentence);
  const left = existsSync(at('lock'));
  await lease.release();
  expect(existsSync(at('lock'))).toBe(left);
});

test('a holder that was stopped for long goes on where nobody has taken it', async () => {
  const lease = await taken();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TIMES.expiryMs);
  await lease.requireHeld();
  await lease.release();
});
