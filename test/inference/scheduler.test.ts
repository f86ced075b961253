import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { InferenceOptions } from '../../src/inference/create-service';
import type { PhotoJob } from '../../src/inference/service';
import { isAlive, OPTIONS, ServiceUnderTest } from './service-under-test';

jest.setTimeout(60_000);

// What the parent does, with processes that follow a script: see scripted-child.js.

let folder: string;
let started: ServiceUnderTest[];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'scheduler-'));
  started = [];
});

afterEach(async () => {
  await Promise.all(started.map(({ service }) => service.close(0)));
  rmSync(folder, { recursive: true });
});

/** @param deaths processes that die while they load, or one that hangs */
function start(options: Partial<InferenceOptions> = {}, deaths: number | 'hang' = 0): ServiceUnderTest {
  const bundle = path.join(folder, 'deaths');
  writeFileSync(bundle, String(deaths));
  const underTest = new ServiceUnderTest({ bundle, childEntry: path.join(__dirname, 'scripted-child.js'), ...options });
  started.push(underTest);
  return underTest;
}

function photo(name: string, options = OPTIONS): Extract<PhotoJob, { task: 'caption' }> {
  return { task: 'caption', image: Buffer.from(name), options, priority: 'interactive' };
}

/** What the script says of a photo: the photos that shared its batch. */
async function batchOf({ service }: ServiceUnderTest, name: string, options = OPTIONS): Promise<string | undefined> {
  const { captions } = await service.run(photo(name, options));
  return captions[0]?.caption;
}

test('jobs that come together share a batch up to its size', async () => {
  const underTest = start({ maxBatch: 3 });
  await underTest.service.ready();
  const batches = await Promise.all(['a', 'b', 'c', 'd'].map((name) => batchOf(underTest, name)));
  expect(batches).toEqual(['a b c', 'a b c', 'a b c', 'd']);
});

test('where jobs are to wait for company, those that come meanwhile share a batch, and a full batch waits no longer', async () => {
  const underTest = start({ maxBatch: 3, batchWaitMs: 1_000 });
  await underTest.service.ready();
  const a = batchOf(underTest, 'a');
  await new Promise((resolve) => setTimeout(resolve, 20));
  await expect(Promise.all([a, batchOf(underTest, 'b'), batchOf(underTest, 'c')])).resolves.toEqual(
    Array<string>(3).fill('a b c'),
  );
  await expect(batchOf(underTest, 'd')).resolves.toBe('d');
});

test('what happens is told: batches with their units, retries, work that was dropped, processes that came and went', async () => {
  const underTest = start();
  const told = { started: [] as unknown[], ended: [] as unknown[], dropped: [] as string[], retried: 0, gone: 0 };
  const { events } = underTest.service;
  events.on('batchStarted', ({ units, waitsMs }) => told.started.push([units, waitsMs.length]));
  events.on('batchEnded', ({ units, processes }) => told.ended.push([units, processes]));
  events.on('jobDropped', ({ when }) => told.dropped.push(when));
  events.on('jobRetried', () => (told.retried += 1));
  events.on('processGone', () => (told.gone += 1));
  const ready = once(events, 'processReady');
  await expect(ready).resolves.toEqual([{ slot: 0, msPerUnit: 1, device: { name: 'cpu' } }]);
  await batchOf(underTest, 'a');
  await Promise.allSettled([batchOf(underTest, 'die')]);
  const leaving = new AbortController();
  const left = underTest.service.run(photo('b'), leaving.signal);
  leaving.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  const [a, die, again] = Array<unknown>(3).fill([1, 1]);
  expect(told).toMatchObject({ started: [a, die, again], ended: [a], dropped: ['waiting'], retried: 1 });
  expect(told.gone).toBeGreaterThan(0);
});

test('of a batch that is partly left the pace is told of what was computed', async () => {
  const underTest = start({ maxBatch: 2 });
  await underTest.service.ready();
  const ended = once(underTest.service.events, 'batchEnded');
  const leaving = new AbortController();
  const left = underTest.service.run(photo('wait'), leaving.signal);
  const a = batchOf(underTest, 'a');
  await once(underTest.service.events, 'batchStarted');
  leaving.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  await a;
  expect(await ended).toMatchObject([{ units: 1 }]);
});

test('jobs of other settings wait for a batch of their own', async () => {
  const underTest = start();
  await underTest.service.ready();
  const batches = await Promise.all([
    batchOf(underTest, 'a'),
    batchOf(underTest, 'b', { ...OPTIONS, numBeams: 1 }),
    batchOf(underTest, 'c'),
  ]);
  expect(batches).toEqual(['a c', 'b', 'a c']);
});

test('every free process works', async () => {
  const underTest = start({ processes: 2, maxBatch: 1 });
  await underTest.service.ready();
  const held = new AbortController();
  const waiting = underTest.service.run(photo('wait'), held.signal);
  await expect(batchOf(underTest, 'b')).resolves.toBe('b');
  held.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});

test('a photo that kills its process twice is refused, and its companions are answered, each alone', async () => {
  const underTest = start();
  await underTest.service.ready();
  const results = await Promise.allSettled(['a', 'die', 'b'].map((name) => batchOf(underTest, name)));
  expect(results).toMatchObject([
    { status: 'fulfilled', value: 'a' },
    { status: 'rejected', reason: { code: 'inference_crashed', retryAfterSeconds: expect.any(Number) as number } },
    { status: 'fulfilled', value: 'b' },
  ]);
  await expect(batchOf(underTest, 'c')).resolves.toBe('c');
});

test('a larger batch has longer for a stage', async () => {
  // Of 64 photos eight times as long as of 8: 2 s, where a photo takes half a second.
  const underTest = start({ maxBatch: 64, stageTimeoutMs: 250 });
  await underTest.service.ready();
  const names = ['slow', ...Array.from({ length: 63 }, (_, n) => String(n))];
  const batches = await Promise.all(names.map((name) => batchOf(underTest, name)));
  expect(new Set(batches)).toEqual(new Set([names.join(' ')]));
});

test('a photo in which a stage hangs costs its process, and its companions are answered', async () => {
  const underTest = start({ stageTimeoutMs: 2_000 });
  const reasons: string[] = [];
  underTest.service.events.on('processGone', ({ reason }) => reasons.push(reason));
  const results = await Promise.allSettled(['a', 'hang', 'b'].map((name) => batchOf(underTest, name)));
  expect(results).toMatchObject([
    { status: 'fulfilled', value: 'a' },
    { status: 'rejected', reason: { code: 'inference_crashed' } },
    { status: 'fulfilled', value: 'b' },
  ]);
  expect(reasons).toEqual(['hung', 'hung']);
});

test('a batch whose photos take long together has not hung', async () => {
  const underTest = start({ stageTimeoutMs: 3_000 });
  const pid = await underTest.pid();
  await expect(batchOf(underTest, 'slow')).resolves.toBe('slow');
  expect(underTest.pids).toEqual([pid]);
});

test('a photo that breaks its batch twice fails with the reason as cause, and the process lives on', async () => {
  const underTest = start();
  const pid = await underTest.pid();
  const results = await Promise.allSettled(['a', 'break'].map((name) => batchOf(underTest, name)));
  expect(results).toEqual([
    { status: 'fulfilled', value: 'a' },
    {
      status: 'rejected',
      reason: expect.objectContaining({ code: 'internal_error', cause: new Error('broken') }) as Error,
    },
  ]);
  expect(underTest.pids).toEqual([pid]);
});

test('a process that dies while it loads is followed by others until one is ready, and a job waits for it', async () => {
  const underTest = start({}, 2);
  const job = batchOf(underTest, 'a');
  expect(underTest.service.state).toBe('starting');
  await underTest.service.ready();
  expect(underTest.service.state).toBe('ready');
  await expect(job).resolves.toBe('a');
});

test('a process that hangs while it loads is killed and followed by another', async () => {
  const underTest = start({ loadTimeoutMs: 3_000 }, 'hang');
  const reasons: string[] = [];
  underTest.service.events.on('processGone', ({ reason }) => reasons.push(reason));
  await expect(batchOf(underTest, 'a')).resolves.toBe('a');
  expect(reasons[0]).toBe('hung');
});

test('a job that is given up in the queue never runs', async () => {
  const underTest = start({ maxBatch: 1 });
  await underTest.service.ready();
  const [holding, leaving] = [new AbortController(), new AbortController()];
  const held = underTest.service.run(photo('wait'), holding.signal);
  const queued = underTest.service.run(photo('die'), leaving.signal);
  leaving.abort(new Error('gone'));
  await expect(queued).rejects.toThrow('gone');
  holding.abort(new Error('enough'));
  await expect(held).rejects.toThrow('enough');
  await expect(batchOf(underTest, 'a')).resolves.toBe('a');
  expect(underTest.pids).toHaveLength(1);
});

test('a job that is given up while it runs ends at once, and its companions are answered', async () => {
  const underTest = start();
  await underTest.service.ready();
  const leaving = new AbortController();
  const left = underTest.service.run(photo('wait'), leaving.signal);
  const staying = batchOf(underTest, 'a');
  // Both are with the process when the timers of the next turn run.
  await new Promise((resolve) => setTimeout(resolve, 50));
  leaving.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  await expect(staying).resolves.toBe('wait a');
});

describe('equal photos in flight', () => {
  const named = (name: string, options = OPTIONS) => ({ ...photo(name, options), sha256: name });

  test('share one run, and those who shared it know; with other settings they do not', async () => {
    const { service } = start();
    const other = { ...OPTIONS, numBeams: 1 };
    const [first, second, third] = await Promise.all([
      service.run(named('a')),
      service.run(named('a')),
      service.run(named('a', other)),
    ]);
    expect(first.captions[0]?.caption).toBe('a');
    expect(second).toEqual({ ...first, cached: true });
    expect(third).toEqual(first);
  });

  test('are run as long as anybody waits, and dropped with the last who does', async () => {
    const { service } = start();
    await service.ready();
    const dropped: string[] = [];
    service.events.on('jobDropped', ({ when }) => dropped.push(when));
    const [one, two] = [new AbortController(), new AbortController()];
    const results = Promise.allSettled([
      service.run(named('wait'), one.signal),
      service.run(named('wait'), two.signal),
    ]);
    one.abort(new Error('one left'));
    expect(dropped).toEqual([]);
    two.abort(new Error('two left'));
    expect(dropped).toHaveLength(1);
    expect(await results).toMatchObject([{ reason: { message: 'one left' } }, { reason: { message: 'two left' } }]);
    // Whoever comes now shares nothing with those who left.
    await expect(service.run(named('b'))).resolves.toMatchObject({ captions: [{ caption: 'b' }] });
  });

  test('go to the process that has seen them', async () => {
    const underTest = start({ processes: 2 });
    await underTest.service.ready();
    const holding = new AbortController();
    const held = underTest.service.run(photo('wait'), holding.signal);
    const settled = Promise.allSettled([held]);
    await once(underTest.service.events, 'batchStarted');
    const [first] = (await underTest.service.run(named('pid'))).captions;
    holding.abort(new Error('enough'));
    await settled;
    // The other process, which comes first where both are free, answers this one.
    await batchOf(underTest, 'a');
    const [second] = (await underTest.service.run(named('pid'))).captions;
    expect(second?.caption).toBe(first?.caption);
  });
});

describe('with a batch ahead', () => {
  test('a process that is free comes before one that works, which has the next', async () => {
    const underTest = start({ processes: 2, maxBatch: 1, ahead: 1 });
    await underTest.service.ready();
    const holding = new AbortController();
    const held = underTest.service.run(photo('wait'), holding.signal);
    const settled = Promise.allSettled([held]);
    await expect(batchOf(underTest, 'b')).resolves.toBe('b');
    const batches = Promise.all([batchOf(underTest, 'c'), batchOf(underTest, 'd')]);
    await once(underTest.service.events, 'batchEnded');
    holding.abort(new Error('enough'));
    await settled;
    await expect(batches).resolves.toEqual(['c', 'd']);
  });

  test('no more than it is given to a process', async () => {
    const underTest = start({ maxBatch: 1, ahead: 1 });
    await underTest.service.ready();
    const told: number[] = [];
    underTest.service.events.on('batchStarted', ({ units }) => told.push(units));
    const holding = new AbortController();
    const held = underTest.service.run(photo('wait'), holding.signal);
    const batches = Promise.all(['a', 'b', 'c'].map((name) => batchOf(underTest, name)));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(told).toHaveLength(2);
    holding.abort(new Error('enough'));
    await expect(held).rejects.toThrow('enough');
    await expect(batches).resolves.toEqual(['a', 'b', 'c']);
  });

  test('a photo of it that kills the process twice is refused, and the batch that was at work lives on', async () => {
    const underTest = start({ maxBatch: 1, ahead: 1 });
    await underTest.service.ready();
    const holding = new AbortController();
    const held = underTest.service.run(photo('wait'), holding.signal);
    const settled = Promise.allSettled([held]);
    const others = Promise.allSettled(['die', 'a'].map((name) => batchOf(underTest, name)));
    await underTest.pid(3);
    holding.abort(new Error('enough'));
    await expect(settled).resolves.toMatchObject([{ reason: { message: 'enough' } }]);
    await expect(others).resolves.toMatchObject([
      { status: 'rejected', reason: { code: 'inference_crashed' } },
      { status: 'fulfilled', value: 'a' },
    ]);
  });
});

test('a job whose signal is aborted already is not taken', async () => {
  const { service } = start();
  await expect(service.run(photo('a'), AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
});

test('closing finishes what is queued and takes no more', async () => {
  const underTest = start({ maxBatch: 1 });
  const pid = await underTest.pid();
  const jobs = ['a', 'b', 'c'].map((name) => batchOf(underTest, name));
  const closed = underTest.service.close(10_000);
  expect(underTest.service.state).toBe('draining');
  await expect(batchOf(underTest, 'd')).rejects.toMatchObject({ code: 'shutting_down' });
  await expect(Promise.all(jobs)).resolves.toEqual(['a', 'b', 'c']);
  await closed;
  expect(underTest.service.state).toBe('stopped');
  expect(isAlive(pid)).toBe(false);
});

test('closing gives up what takes too long', async () => {
  const underTest = start();
  const pid = await underTest.pid();
  const job = underTest.service.run(photo('wait'));
  const [outcome] = await Promise.allSettled([job, underTest.service.close(100)]);
  expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'shutting_down' } });
  expect(isAlive(pid)).toBe(false);
});

test('closing ends the wait for a process that cannot load', async () => {
  const { service } = start({}, 1_000);
  const ready = service.ready();
  await service.close(0);
  await expect(ready).rejects.toMatchObject({ code: 'shutting_down' });
  expect(service.state).toBe('stopped');
});
