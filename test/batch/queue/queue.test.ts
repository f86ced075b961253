import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../../golden';
import { freePorts } from '../../servers/free-ports';
import { describeWith } from '../../servers/installed';
import { CERTIFICATE, Proxy } from '../../servers/proxy';
import { VALKEY, ValkeyServer } from '../../servers/valkey-server';
import { CANNOT_RUN, journalled, readRows, score, SOME_PHOTO_FAILED, startScore } from '../score-process';
import { temporaryFolder } from '../temporary-folder';
import { WorkerProcess } from './worker-process';

/** Small here; at full size by `bench/score-kills.sh`. */
const PHOTOS = Number(process.env['SCORE_PHOTOS'] ?? 60);
const BATCH_SIZE = 2;
const NAMES = ['exif-1.jpg', 'animated.webp', 'grey.png', 'exif-6.jpg', 'transparent.png', 'cmyk.jpg', 'large.jpg'];

jest.setTimeout(120_000 + PHOTOS * 2_000);

const at = temporaryFolder();

describeWith(VALKEY)('scoring by workers at a queue', () => {
  let server: ValkeyServer;
  let workers: WorkerProcess[] = [];

  beforeEach(async () => {
    server = await ValkeyServer.start({ password: 'open sesame' });
  });

  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.end('SIGKILL')));
    workers = [];
    await server.stop();
  });

  const environment = { QUEUE_PASSWORD: 'open sesame' };

  function startWorker(url = server.url, more: Record<string, string> = {}): WorkerProcess {
    const worker = new WorkerProcess(url, { ...environment, ...more });
    workers.push(worker);
    return worker;
  }

  async function untilJournalled(output: string, batches: number): Promise<void> {
    while (journalled(output) < batches) {
      await sleep(5);
    }
  }

  test(`${PHOTOS} photos, two of three workers and the run itself killed: the bytes of an unbroken local run`, async () => {
    mkdirSync(at('photos'));
    for (let n = 0; n < PHOTOS; n += 1) {
      const photo = goldenImage(NAMES[n % NAMES.length] ?? '');
      const name = `photos/${String(n).padStart(5, '0')}.jpg`;
      writeFileSync(at(name), n % 17 === 5 ? photo.subarray(0, 1_000) : photo);
    }
    const args = [at('photos'), '--batch-size', String(BATCH_SIZE)];
    expect((await score([...args, '--out', at('local.jsonl')])).code).toBe(SOME_PHOTO_FAILED);

    const out = at('out.jsonl');
    const batches = Math.ceil(PHOTOS / BATCH_SIZE);
    const queued = [...args, '--out', out, '--queue', server.url];
    const [firstKill, secondKill] = [0.1, 0.4].map((from) => Math.floor(batches * (from + 0.3 * Math.random())));
    const [first, second, third] = [startWorker(), startWorker(), startWorker()];
    await Promise.all(workers.map((worker) => worker.until('ready')));
    const broken = startScore(queued, { environment });
    await first.until('batch_scored');
    await untilJournalled(out, firstKill ?? 0);
    await first.end('SIGKILL');
    const gone = once(broken, 'exit');
    broken.kill('SIGKILL');
    await gone;
    expect(journalled(out)).toBeLessThan(batches);

    const run = score([...queued, '--json'], { environment });
    await second.until('batch_scored');
    await untilJournalled(out, secondKill ?? 0);
    expect(journalled(out)).toBeLessThan(batches);
    await second.end('SIGKILL');
    const { code, printed } = await run;
    expect(code).toBe(SOME_PHOTO_FAILED);
    expect(JSON.parse(printed)).toMatchObject({ items: PHOTOS });
    for (const name of ['', '.errors.jsonl']) {
      expect(readFileSync(`${out}${name}`, 'utf8')).toBe(readFileSync(at(`local.jsonl${name}`), 'utf8'));
    }
    expect(readRows(out)).toHaveLength(PHOTOS);
    await expect(third.end('SIGTERM')).resolves.toBe(0);
  });

  test('a worker that is told to end while the queue is gone ends', async () => {
    const worker = startWorker();
    await worker.until('ready');
    await server.stop();
    await worker.until('queue_lost');
    await expect(worker.end('SIGTERM')).resolves.toBe(0);
    server = await ValkeyServer.start();
  });

  test('a photo on which three workers die is given up; the run goes on without it', async () => {
    // A store that never answers: a worker has the photo in its hands until it is killed.
    const store = createServer();
    const asked = (): Promise<unknown> => once(store, 'request');
    store.listen(0, '127.0.0.1');
    await once(store, 'listening');
    const more = {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${(store.address() as AddressInfo).port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'k',
      AWS_SECRET_ACCESS_KEY: 's',
    };
    writeFileSync(at('a.jpg'), goldenImage('exif-1.jpg'));
    const items = ['s3://photos/deadly.jpg', at('a.jpg')];
    writeFileSync(at('list'), items.join('\n'));
    const args = [at('list'), '--batch-size', '1', '--out', at('out.jsonl'), '--queue', server.url];
    const run = score(args, { environment });
    for (let deaths = 0; deaths < 3; deaths += 1) {
      const taken = asked();
      const worker = startWorker(server.url, more);
      await taken;
      // The other photo is not to die with it.
      await untilJournalled(at('out.jsonl'), 1);
      await worker.end('SIGKILL');
    }
    startWorker(server.url, more);
    const { code } = await run;
    store.closeAllConnections();
    store.close();
    expect(code).toBe(SOME_PHOTO_FAILED);
    const problem = {
      code: 'batch_failed',
      detail: 'The workers have given up its batch: job stalled more than allowable limit',
    };
    expect(readRows(at('out.jsonl'))).toEqual([
      { image: items[0], problem },
      expect.objectContaining({ image: items[1], caption: expect.any(String) as string }),
    ]);
    expect(readRows(at('out.jsonl.errors.jsonl'))).toEqual([{ image: items[0], problem }]);
  });

  test('goes by TLS where the address says so, to a queue whose certificate is trusted', async () => {
    const proxy = await Proxy.start(server.port, { tls: true });
    const url = `rediss://localhost:${proxy.port}`;
    const trusting = { NODE_EXTRA_CA_CERTS: CERTIFICATE };
    writeFileSync(at('a.jpg'), goldenImage('exif-1.jpg'));
    const args = [at('a.jpg'), '--out', at('out.jsonl'), '--queue', url];
    const { code, said } = await score(args, { environment });
    expect([code, said]).toEqual([
      CANNOT_RUN,
      expect.stringContaining(`error: The queue at ${url} cannot be reached: self-signed certificate`),
    ]);
    startWorker(url, trusting);
    expect((await score(args, { environment: { ...environment, ...trusting } })).code).toBe(0);
    expect(readRows(at('out.jsonl'))).toHaveLength(1);
    await Promise.all(workers.map((worker) => worker.end('SIGTERM')));
    await proxy.stop();
  });

  test('a queue that is not there, or refuses, is a sentence for run and worker', async () => {
    writeFileSync(at('a.jpg'), goldenImage('exif-1.jpg'));
    const [port] = await freePorts(1);
    for (const [url, sentence] of [
      [
        `redis://127.0.0.1:${port}`,
        `error: The queue at redis://127.0.0.1:${port} cannot be reached: connect ECONNREFUSED`,
      ],
      [server.url, `error: The queue at ${server.url} refuses the password of QUEUE_PASSWORD.`],
      ['localhost:6379', 'Expected an address like redis://host:port.'],
    ] as const) {
      const { code, said } = await score([at('a.jpg'), '--out', at('out.jsonl'), '--queue', url]);
      expect([code, said]).toEqual([CANNOT_RUN, expect.stringContaining(sentence)]);
      expect(said).not.toMatch(/^\s+at /m);
      const worker = new WorkerProcess(url);
      await once(worker.process, 'close');
      expect([worker.process.exitCode, worker.said]).toEqual([CANNOT_RUN, expect.stringContaining(sentence)]);
    }
  });
});
