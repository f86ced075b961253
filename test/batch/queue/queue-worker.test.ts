import { writeFileSync } from 'node:fs';
import { Queue, QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { ObjectStore } from '../../../src/batch/inputs/s3';
import { connectToQueue } from '../../../src/batch/queue/connection';
import { type BatchJob, type BatchResult, KEY_PREFIX, queueOf } from '../../../src/batch/queue/jobs';
import { QueueWorker } from '../../../src/batch/queue/worker';
import { goldenImage } from '../../golden';
import { FakeService } from '../../http/fake-service';
import { freePorts } from '../../servers/free-ports';
import { describeWith } from '../../servers/installed';
import { VALKEY, ValkeyServer } from '../../servers/valkey-server';
import { temporaryFolder } from '../temporary-folder';

const at = temporaryFolder();
const BUNDLE = 'ab'.repeat(32);
const OPTIONS = { numBeams: 2, numCaptions: 1, maxTokens: 5, topK: 1, regions: false, explain: false };

describeWith(VALKEY)('a worker', () => {
  let server: ValkeyServer;
  let connection: Redis;
  let queue: Queue<BatchJob, BatchResult>;
  let events: QueueEvents;
  let service: FakeService;
  let worker: QueueWorker;
  let log: { event: string }[];

  beforeEach(async () => {
    server = await ValkeyServer.start();
    connection = await connectToQueue({ url: server.url, password: '' }, () => undefined);
    const place = { connection, prefix: KEY_PREFIX };
    queue = new Queue(queueOf(BUNDLE), place);
    events = new QueueEvents(queueOf(BUNDLE), { ...place, lastEventId: '0' });
    service = new FakeService();
    log = [];
    const logger = pino({}, { write: (line: string) => void log.push(JSON.parse(line) as { event: string }) });
    const store = new ObjectStore({ pathStyle: true, maxAttempts: 1 });
    worker = new QueueWorker({ connection, bundle: BUNDLE, service, concurrency: 2, store, lockSeconds: 30, logger });
    writeFileSync(at('a.jpg'), goldenImage('exif-1.jpg'));
  });

  afterEach(async () => {
    await Promise.all([worker.close(), queue.close(), events.close()]);
    connection.disconnect();
    await server.stop();
  });

  const put = (jobId: string, ...images: readonly string[]) =>
    queue.add('batch', { items: images.map((image) => ({ image })), options: OPTIONS }, { jobId });

  test("gives a batch's photos their outcomes; a photo that is not there is a problem", async () => {
    const outcomes = await (await put('run-0', at('a.jpg'), at('none.jpg'))).waitUntilFinished(events);
    expect(outcomes.map(({ caption, problem }) => caption ?? problem?.code)).toEqual([
      'caption 0 of 2 beams and 5 tokens',
      'undecodable_image',
    ]);
    await worker.close();
    expect(log).toEqual([expect.objectContaining({ event: 'batch_scored', job: 'run-0', items: 2, failed: 1 })]);
  });

  test('does not mix batches of several runs', async () => {
    const jobs = await Promise.all([put('one-0', at('a.jpg'), at('a.jpg')), put('two-0', at('a.jpg'))]);
    await Promise.all(jobs.map((job) => job.waitUntilFinished(events)));
    const batches = service.jobs.map(({ batch }) => batch);
    expect(batches).toHaveLength(3);
    expect(new Set(batches).size).toBe(2);
  });

  test('fails a batch of which no photo can be read, so that it is tried again', async () => {
    const [port] = await freePorts(1);
    Object.assign(process.env, {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'k',
      AWS_SECRET_ACCESS_KEY: 's',
    });
    const job = await put('run-0', 's3://bucket/a.jpg');
    await expect(job.waitUntilFinished(events)).rejects.toThrow(/s3:\/\/bucket\/a\.jpg cannot be read: .*ECONNREFUSED/);
    await worker.close();
    expect(log).toEqual([expect.objectContaining({ event: 'batch_failed', job: 'run-0', attempt: 1 })]);
  });

  test('that is told to end leaves no batch half done', async () => {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const begun = new Promise<void>((resolve) => {
      service.before = () => {
        resolve();
        return released;
      };
    });
    const job = await put('run-0', at('a.jpg'));
    await begun;
    const closed = worker.close();
    const late = await put('run-1', at('a.jpg'));
    release();
    await closed;
    await expect(job.getState()).resolves.toBe('completed');
    // It may have been taken in the same moment, and then it is done too.
    expect(['waiting', 'completed']).toContain(await late.getState());
  });
});
