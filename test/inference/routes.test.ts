import { PendingJob } from '../../src/inference/pending-job';
import { Routes } from '../../src/inference/routes';
import { OPTIONS } from './service-under-test';

const MAX_BATCH = 2;

interface Process {
  readonly status: string;
}

function job(photo?: string): PendingJob {
  const named = photo === undefined ? {} : { sha256: photo };
  return new PendingJob({
    task: 'caption',
    image: Buffer.from('x'),
    options: OPTIONS,
    priority: 'interactive',
    ...named,
  });
}

const home: Process = { status: 'busy' };
const other: Process = { status: 'free' };
let routes: Routes<Process>;

beforeEach(() => {
  routes = new Routes();
  routes.remember(job('a'), home);
});

function mayTake(process: Process, ...waiting: PendingJob[]): boolean[] {
  const may = routes.jobsFor(process, waiting, MAX_BATCH);
  return waiting.map(may);
}

test('a photo that a process has seen is left for it, one that none has seen or that has no name is not', () => {
  expect(mayTake(other, job('a'), job('b'), job())).toEqual([false, true, true]);
  expect(mayTake(home, job('a'), job('b'), job())).toEqual([true, true, true]);
});

test('where a whole batch waits for a process, another may take of it', () => {
  expect(mayTake(other, job('a'), job('a'))).toEqual([true, true]);
});

test('the process that served a photo last is its home', () => {
  routes.remember(job('a'), other);
  expect(mayTake(other, job('a'))).toEqual([true]);
  expect(mayTake(home, job('a'))).toEqual([false]);
});

test('nothing is left for a process that is gone', () => {
  routes.remember(job('b'), { status: 'gone' });
  expect(mayTake(other, job('b'))).toEqual([true]);
});
