import { ServiceError } from '../../src/errors';
import { InFlight } from '../../src/inference/in-flight';
import { PendingJob } from '../../src/inference/pending-job';
import { JobQueue } from '../../src/inference/queue';
import type { PhotoJob, Priority } from '../../src/inference/service';
import type { DecodingOptions } from '../../src/vision-language/results';

const OPTIONS: DecodingOptions = {
  numBeams: 5,
  numCaptions: 1,
  maxTokens: 20,
  topK: 5,
  regions: false,
  explain: false,
};
const image = new Uint8Array();

function caption(options: Partial<DecodingOptions> = {}, priority: Priority = 'interactive'): PendingJob {
  return new PendingJob({ task: 'caption', image, options: { ...OPTIONS, ...options }, priority });
}

function vqa(count: number, priority: Priority = 'interactive'): PendingJob {
  const questions = Array<string>(count).fill('?');
  return new PendingJob({ task: 'vqa', image, questions, options: OPTIONS, priority });
}

function queueOf(...jobs: PendingJob[]): JobQueue {
  const queue = new JobQueue();
  jobs.forEach((job) => {
    queue.append(job);
  });
  return queue;
}

test('a batch is of the job that waits longest and all that have its task and settings', () => {
  const [a, b, c, d] = [caption(), caption({ numBeams: 1 }), vqa(1), caption()];
  const queue = queueOf(a, b, c, d);
  expect(queue.takeBatch(8)).toEqual([a, d]);
  expect(queue.takeBatch(8)).toEqual([b]);
  expect(queue.takeBatch(8)).toEqual([c]);
  expect(queue.takeBatch(8)).toBeUndefined();
});

test('settings in another order are the same settings', () => {
  const { numBeams, ...rest } = OPTIONS;
  const reordered: PhotoJob = {
    task: 'caption',
    image,
    options: { ...rest, numBeams },
    priority: 'interactive',
  };
  expect(new PendingJob(reordered).batchKey).toBe(caption().batchKey);
});

test('a batch has so many pairs of photo and question, and later jobs that fit are not held up by one that does not', () => {
  const [a, b, c] = [vqa(5), vqa(4), vqa(3)];
  const queue = queueOf(a, b, c);
  expect(queue.takeBatch(8)).toEqual([a, c]);
  expect(queue.takeBatch(8)).toEqual([b]);
});

test('a job larger than a batch is a batch of its own', () => {
  const [a, b] = [vqa(16), vqa(1)];
  const queue = queueOf(a, b);
  expect(queue.takeBatch(8)).toEqual([a]);
  expect(queue.takeBatch(8)).toEqual([b]);
});

test('jobs that are put back come first, each alone once its batch has failed', () => {
  const [a, b, c] = [caption(), caption(), caption()];
  const queue = queueOf(c);
  a.hasFailed = true;
  b.hasFailed = true;
  queue.putBack([a, b]);
  expect(queue.takeBatch(8)).toEqual([a]);
  expect(queue.takeBatch(8)).toEqual([b]);
  expect(queue.takeBatch(8)).toEqual([c]);
});

test('jobs that are left for another process are in no batch', () => {
  const [a, b, c] = [caption(), caption(), caption()];
  expect(queueOf(a, b, c).takeBatch(8, (job) => job !== a)).toEqual([b, c]);
  expect(queueOf(a).takeBatch(8, () => false)).toBeUndefined();
});

test('a job that is removed is in no batch', () => {
  const [a, b] = [caption(), caption()];
  const queue = queueOf(a, b);
  expect(queue.remove(a)).toBe(true);
  expect(queue.takeBatch(8)).toEqual([b]);
  expect(queue.remove(b)).toBe(false);
});

test('interactive jobs go first, and one batch in four is of bulk jobs that wait', () => {
  const bulk = [1, 2, 3].map(() => vqa(8, 'bulk'));
  const interactive = [1, 2, 3, 4, 5, 6, 7].map(() => vqa(8));
  const queue = queueOf(...bulk, ...interactive);
  const order = Array.from({ length: 10 }, () => queue.takeBatch(8)?.[0].job.priority);
  expect(order.map((priority) => priority?.[0]).join('')).toBe('iiibiiibib');
});

test('bulk jobs alone wait for nobody', () => {
  const [a, b] = [vqa(8, 'bulk'), vqa(8, 'bulk')];
  const queue = queueOf(a, b);
  expect(queue.takeBatch(8)).toEqual([a]);
  expect(queue.takeBatch(8)).toEqual([b]);
});

test('a batch is filled with its own priority first, and then with the other', () => {
  const [a, b, c, d] = [caption({}, 'bulk'), caption(), caption({}, 'bulk'), caption()];
  expect(queueOf(a, b, c, d).takeBatch(3)).toEqual([b, d, a]);
});

describe('a job whose turn comes too late', () => {
  const LATE = new ServiceError('overloaded', 'Too late.');
  const turn = (refusal?: ServiceError) => ({ come: () => refusal });

  function job(refusal: ServiceError | undefined, sha256?: string): PendingJob {
    const named = sha256 === undefined ? {} : { sha256 };
    const pending = new PendingJob({
      task: 'caption',
      image,
      options: OPTIONS,
      priority: 'interactive',
      turn: turn(refusal),
      ...named,
    });
    // Who waits for it hears of it.
    pending.result.catch(() => undefined);
    return pending;
  }

  test('is refused and leaves its place in the batch to others', async () => {
    const [a, b, c, d] = [job(LATE), job(undefined), job(LATE), job(undefined)];
    const queue = queueOf(a, b, c, d);
    expect(queue.takeBatch(2)).toEqual([b, d]);
    expect(queue.waiting).toEqual([]);
    await expect(a.result).rejects.toBe(LATE);
    await expect(c.result).rejects.toBe(LATE);
  });

  test('where there are no others there is no batch', () => {
    const queue = queueOf(job(LATE), job(LATE));
    expect(queue.takeBatch(2)).toBeUndefined();
    expect(queue.waiting).toEqual([]);
  });

  test('is begun all the same where somebody else still waits for it', () => {
    const inFlight = new InFlight();
    const first = job(LATE, 'photo');
    inFlight.add(first);
    expect(inFlight.equalTo(job(undefined, 'photo'))).toBe(first);
    expect(queueOf(first).takeBatch(2)).toEqual([first]);
  });

  test('who joins a job whose turn has come is told that it has', () => {
    const inFlight = new InFlight();
    const first = job(undefined, 'photo');
    inFlight.add(first);
    const come = jest.fn(() => undefined);
    const joining = (): PendingJob => new PendingJob({ ...job(undefined, 'photo').job, turn: { come } });
    inFlight.equalTo(joining());
    expect(come).not.toHaveBeenCalled();
    queueOf(first).takeBatch(1);
    expect(come).toHaveBeenCalledTimes(1);
    inFlight.equalTo(joining());
    expect(come).toHaveBeenCalledTimes(2);
  });
});
