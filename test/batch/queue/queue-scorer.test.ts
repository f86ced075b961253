import { setTimeout as sleep } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import type { Outcome } from '../../../src/batch/item';
import { connectToQueue } from '../../../src/batch/queue/connection';
import { type BatchJob, type BatchResult, KEY_PREFIX, queueOf } from '../../../src/batch/queue/jobs';
import { QueueScorer, type QueueScorerOptions } from '../../../src/batch/queue/queue-scorer';
import { describeWith } from '../../servers/installed';
import { VALKEY, ValkeyServer } from '../../servers/valkey-server';

const BUNDLE = 'ab'.repeat(32);
const DECODING = { numBeams: 5, numCaptions: 1, maxTokens: 18, topK: 4, regions: false, explain: false };
const BATCH = {
  index: 3,
  items: [
    { image: 'a.jpg', id: 7 },
    { image: 'b.jpg', question: 'why?' },
  ],
};
const OUTCOMES = [{ caption: 'a dog' }, { answers: [] }];

describeWith(VALKEY)('a queue', () => {
  let server: ValkeyServer;
  let closing: (() => unknown)[] = [];

  beforeEach(async () => {
    server = await ValkeyServer.start();
  });

  afterEach(async () => {
    for (const close of closing.reverse()) {
      await close();
    }
    closing = [];
    await server.stop();
  });

  async function connect(): Promise<Redis> {
    const connection = await connectToQueue({ url: server.url, password: '' }, () => undefined);
    closing.push(() => {
      connection.disconnect();
    });
    return connection;
  }

  async function scorer(options: Partial<QueueScorerOptions> = {}): Promise<QueueScorer> {
    const retries = { attempts: 3, backoff: { type: 'exponential', delay: 1 } };
    const made = await QueueScorer.create({
      connection: options.connection ?? (await connectToQueue({ url: server.url, password: '' }, () => undefined)),
      bundle: BUNDLE,
      run: 'run',
      decoding: DECODING,
      fresh: false,
      retries,
      ...options,
    });
    closing.push(() => made.close());
    return made;
  }

  /** A worker whose results are these, one after the other, the last one again and again; an error fails a job. */
  async function worker(...results: readonly (BatchResult | Error)[]): Promise<BatchJob[]> {
    const jobs: BatchJob[] = [];
    const left = [...results];
    const take = (job: BatchJob): Promise<BatchResult> => {
      jobs.push(job);
      const result = left.length > 1 ? left.shift() : left[0];
      return result instanceof Error ? Promise.reject(result) : Promise.resolve(result ?? []);
    };
    const made = new Worker<BatchJob, BatchResult>(queueOf(BUNDLE), ({ data }) => take(data), {
      connection: await connect(),
      prefix: KEY_PREFIX,
    });
    closing.push(() => made.close());
    return jobs;
  }

  async function queue(): Promise<Queue<BatchJob, BatchResult>> {
    const made = new Queue<BatchJob, BatchResult>(queueOf(BUNDLE), { connection: await connect(), prefix: KEY_PREFIX });
    // One test takes the queue away.
    made.on('error', () => undefined);
    closing.push(() => made.close());
    return made;
  }

  async function jobsLeft(): Promise<number> {
    const { completed = 0, failed = 0, waiting = 0, active = 0, delayed = 0 } = await (await queue()).getJobCounts();
    return completed + failed + waiting + active + delayed;
  }

  const problems = (reason: string): Outcome[] =>
    BATCH.items.map(() => ({
      problem: { code: 'batch_failed', detail: `The workers have given up its batch: ${reason}` },
    }));

  test('carries photos, questions and options to a worker, and its outcomes back; nothing stays', async () => {
    const jobs = await worker(OUTCOMES);
    await expect((await scorer()).score(BATCH)).resolves.toEqual(OUTCOMES);
    const items = [{ image: 'a.jpg' }, { image: 'b.jpg', question: 'why?' }];
    expect(jobs).toEqual([{ items, options: DECODING }]);
    await expect(jobsLeft()).resolves.toBe(0);
  });

  test('gives a batch that failed to a worker again', async () => {
    const jobs = await worker(new Error('no store'), new Error('no store'), OUTCOMES);
    await expect((await scorer()).score(BATCH)).resolves.toEqual(OUTCOMES);
    expect(jobs).toHaveLength(3);
  });

  test('keeps a batch that fails every time as a dead letter; each of its items fails, until it is tried again', async () => {
    const jobs = await worker(...Array<Error>(3).fill(new Error('no store')), OUTCOMES);
    await expect((await scorer()).score(BATCH)).resolves.toEqual(problems('no store'));
    expect(jobs).toHaveLength(3);
    const [letter] = await (await queue()).getFailed();
    expect([letter?.id, letter?.failedReason]).toEqual(['run-3', 'no store']);
    await expect((await scorer()).score(BATCH)).resolves.toEqual(OUTCOMES);
    await expect(jobsLeft()).resolves.toBe(0);
  });

  test('that loses everything gets the batches anew', async () => {
    const outcomes = (await scorer({ recheckMs: 20 })).score(BATCH);
    const looking = await queue();
    while ((await looking.getJobCountByTypes('waiting')) === 0);
    await (await connect()).flushall();
    await worker(OUTCOMES);
    await expect(outcomes).resolves.toEqual(OUTCOMES);
  });

  test('that is gone for a while is waited for, and said to be', async () => {
    const told: string[] = [];
    const connection = await connectToQueue({ url: server.url, password: '' }, (sentence) => told.push(sentence));
    const outcomes = (await scorer({ connection, recheckMs: 20 })).score(BATCH);
    const looking = await queue();
    while ((await looking.getJobCountByTypes('waiting')) === 0);
    await server.stop();
    const { port, url } = server;
    while (told.length === 0) {
      await sleep(5);
    }
    server = await ValkeyServer.start({ port });
    await worker(OUTCOMES);
    await expect(outcomes).resolves.toEqual(OUTCOMES);
    // What was under way on the connection, or the next attempt, whichever comes first.
    const why = `(?:read ECONNRESET|connect ECONNREFUSED 127\\.0\\.0\\.1:${port})`;
    expect(told[0]).toMatch(new RegExp(`^The queue at ${url} does not answer, it is waited for: ${why}\\.$`));
  });

  test('that is gone keeps nobody from ending', async () => {
    const made = await scorer();
    const outcomes = made.score(BATCH);
    const looking = await queue();
    while ((await looking.getJobCountByTypes('waiting')) === 0);
    await server.stop();
    await Promise.all([expect(outcomes).rejects.toThrow(), made.close()]);
    server = await ValkeyServer.start();
  });

  test.each([
    ['collects what was done while nobody waited', false, 1],
    ['does it again where the run begins anew', true, 2],
  ])('%s', async (_what, fresh, times) => {
    const first = await scorer();
    const lost = first.score(BATCH).catch(() => undefined);
    const looking = await queue();
    while ((await looking.getJobCountByTypes('waiting')) === 0);
    await first.close();
    await lost;
    const jobs = await worker(OUTCOMES);
    while ((await looking.getJobCountByTypes('completed')) === 0);
    await expect((await scorer({ fresh })).score(BATCH)).resolves.toEqual(OUTCOMES);
    expect(jobs).toHaveLength(times);
  });

  test('leaves runs of other bundles to other workers, and knows how many there are', async () => {
    const other = await scorer({ bundle: 'cd'.repeat(32) });
    const own = await scorer();
    await expect(own.workers()).resolves.toBe(0);
    const jobs = await worker(OUTCOMES);
    const ignored = other.score(BATCH).catch(() => undefined);
    await own.score(BATCH);
    await expect(own.workers()).resolves.toBe(1);
    await expect(other.workers()).resolves.toBe(0);
    expect(jobs).toHaveLength(1);
    await other.close();
    await ignored;
  });

  test('takes no photos out of archives', async () => {
    const items = [{ image: 'shard.tar/0001.jpg', bytes: new Uint8Array(1) }];
    await expect((await scorer()).score({ index: 0, items })).rejects.toThrow('is part of an archive');
  });
});
