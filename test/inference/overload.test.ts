import { ServiceError } from '../../src/errors';
import { Admission, type Ticket } from '../../src/inference/admission';
import { DrainRate } from '../../src/inference/drain-rate';
import { PendingJob } from '../../src/inference/pending-job';
import { JobQueue } from '../../src/inference/queue';
import type { Priority } from '../../src/inference/service';
import { OPTIONS } from './service-under-test';

// Admission, pace and queue together under an open load, on a clock of the test's own: no process, and no time passes.

const PROCESSES = 2;
const MAX_BATCH = 8;
/** A batch costs this, and this for each of its units, give or take 30 %. */
const BATCH_MS = 20;
const UNIT_MS = 50;
/** Units a second with full batches. */
const CAPACITY = (1000 * PROCESSES * MAX_BATCH) / (BATCH_MS + MAX_BATCH * UNIT_MS);
const SECONDS = 60;

interface Request {
  readonly job: PendingJob;
  readonly ticket: Ticket;
  readonly arrivedMs: number;
  readonly timeoutMs: number;
}

interface Outcome {
  readonly priority: Priority;
  readonly timeoutMs: number;
  readonly tookMs: number;
}

/** Numbers in 0-1 that are the same in every run (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Simulation {
  readonly answered: Outcome[] = [];
  readonly retryAfter: number[] = [];
  /** Let in, and refused since their turn came too late. */
  refusedAfterWait = 0;
  private slowdown = { fromMs: Infinity, times: 1 };
  private nowMs = 0;
  private readonly next = random(7);
  private readonly rate = new DrainRate();
  private readonly queue = new JobQueue();
  private readonly requests = new Map<PendingJob, Request>();
  private readonly admission: Admission;
  /** When each process is free again, and what it works on. */
  private readonly processes: { freeAtMs: number; startedMs: number; jobs: readonly PendingJob[] }[];

  constructor() {
    this.rate.guess(BATCH_MS + UNIT_MS);
    this.admission = new Admission({ units: 1_000, bytes: 1e12, unitsInWork: MAX_BATCH * PROCESSES }, this.rate);
    this.processes = Array.from({ length: PROCESSES }, () => ({ freeAtMs: 0, startedMs: 0, jobs: [] }));
  }

  /** @param bulkShare of the requests, 0-1 */
  run(unitsPerSecond: number, timeoutsMs: readonly number[], bulkShare: number): void {
    let nowMs = 0;
    while (nowMs < SECONDS * 1000) {
      nowMs += (-Math.log(1 - this.next()) * 1000) / unitsPerSecond;
      this.workUntil(nowMs);
      const timeoutMs = timeoutsMs[Math.floor(this.next() * timeoutsMs.length)] ?? 0;
      this.arrive(nowMs, timeoutMs, this.next() < bulkShare ? 'bulk' : 'interactive');
      this.start(nowMs);
    }
    this.workUntil(Infinity);
  }

  /** From `fromMs` on the processes take `times` as long: other programs take the machine. */
  slowDown(fromMs: number, times: number): void {
    this.slowdown = { fromMs, times };
  }

  private arrive(arrivedMs: number, timeoutMs: number, priority: Priority): void {
    try {
      const ticket = this.admission.enter({ priority, bytes: 1, timeoutMs });
      const turn = { come: () => ticket.refusalAfterWait(arrivedMs + timeoutMs - this.nowMs) };
      const job = new PendingJob({ task: 'caption', image: new Uint8Array(), options: OPTIONS, priority, turn });
      job.result.catch(() => {
        this.refusedAfterWait += 1;
      });
      ticket.take({ units: 1, uploads: 0, bytes: 1 });
      this.queue.append(job);
      this.requests.set(job, { job, ticket, arrivedMs, timeoutMs });
    } catch (error) {
      expect(error).toMatchObject({ code: 'overloaded' });
      this.retryAfter.push((error as ServiceError).retryAfterSeconds ?? NaN);
    }
  }

  private start(nowMs: number): void {
    this.nowMs = nowMs;
    for (const process of this.processes.filter(({ jobs }) => jobs.length === 0)) {
      const jobs = this.queue.takeBatch(MAX_BATCH);
      if (jobs !== undefined) {
        const times = nowMs >= this.slowdown.fromMs ? this.slowdown.times : 1;
        const ms = times * (BATCH_MS + UNIT_MS * jobs.length) * (0.7 + 0.6 * this.next());
        Object.assign(process, { jobs, startedMs: nowMs, freeAtMs: nowMs + ms });
      }
    }
  }

  private workUntil(nowMs: number): void {
    for (;;) {
      const [first] = this.processes
        .filter(({ jobs, freeAtMs }) => jobs.length > 0 && freeAtMs <= nowMs)
        .sort((a, b) => a.freeAtMs - b.freeAtMs);
      if (first === undefined) {
        return;
      }
      this.rate.record(first.jobs.length, first.freeAtMs - first.startedMs, PROCESSES);
      first.jobs.forEach((job) => {
        this.end(job, first.freeAtMs);
      });
      first.jobs = [];
      this.start(first.freeAtMs);
    }
  }

  private end(job: PendingJob, nowMs: number): void {
    const request = this.requests.get(job);
    request?.ticket.leave();
    this.answered.push({
      priority: job.job.priority,
      timeoutMs: request?.timeoutMs ?? NaN,
      tookMs: nowMs - (request?.arrivedMs ?? NaN),
    });
  }
}

function late(outcomes: readonly Outcome[]): Outcome[] {
  return outcomes.filter(({ tookMs, timeoutMs }) => tookMs > timeoutMs);
}

test.each([
  [1, [2_000, 10_000, 30_000]],
  [2, [2_000, 10_000, 30_000]],
  [10, [2_000, 10_000, 30_000]],
  [10, [1_000]],
])(
  'at %i times what it can do, with deadlines of %j ms, nothing that is let in is late, and it keeps busy',
  (load, timeoutsMs) => {
    const simulation = new Simulation();
    simulation.run(load * CAPACITY, timeoutsMs, 0);
    expect(late(simulation.answered)).toEqual([]);
    expect(simulation.answered.length).toBeGreaterThan(0.9 * CAPACITY * SECONDS);
    expect(simulation.retryAfter.every((seconds) => Number.isInteger(seconds) && seconds >= 1)).toBe(true);
  },
);

test('with both priorities at ten times what it can do, bulk work gets its quarter, and neither is late', () => {
  const simulation = new Simulation();
  simulation.run(10 * CAPACITY, [30_000], 0.5);
  const bulk = simulation.answered.filter(({ priority }) => priority === 'bulk').length;
  expect(late(simulation.answered)).toEqual([]);
  expect(bulk / simulation.answered.length).toBeCloseTo(0.25, 1);
});

test('below what it can do, nothing is refused', () => {
  const simulation = new Simulation();
  simulation.run(0.5 * CAPACITY, [2_000, 30_000], 0.3);
  expect(simulation.retryAfter).toEqual([]);
  expect(late(simulation.answered)).toEqual([]);
});

test.each([2, 5])(
  'where it becomes %i times as slow under ten times the load, work is refused before its turn rather than late',
  async (times) => {
    const simulation = new Simulation();
    simulation.slowDown(20_000, times);
    simulation.run(10 * CAPACITY, [30_000], 0);
    // The rejections of jobs are heard.
    await Promise.resolve();
    // Of two batches of each process the pace is learnt.
    expect(late(simulation.answered).length).toBeLessThanOrEqual(2 * PROCESSES * MAX_BATCH);
    expect(simulation.refusedAfterWait).toBeGreaterThan(100);
  },
);
