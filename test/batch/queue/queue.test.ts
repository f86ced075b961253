import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { goldenImage } from '../../golden';
import { freePorts } from '../../servers/free-ports';
import { describeWith } from '../../servers/installed';
import { VALKEY, ValkeyServer } from '../../servers/valkey-server';
import { TINY_BUNDLE } from '../../tiny-bundle';
import { CANNOT_RUN, readRows, score, SOME_PHOTO_FAILED, startScore } from '../score-process';
import { temporaryFolder } from '../temporary-folder';

/** Small here; at full size by `bench/score-kills.sh`. */
const PHOTOS = Number(process.env['SCORE_PHOTOS'] ?? 60);
const BATCH_SIZE = 2;
const NAMES = ['exif-1.jpg', 'animated.webp', 'grey.png', 'exif-6.jpg', 'transparent.png', 'cmyk.jpg', 'large.jpg'];

jest.setTimeout(120_000 + PHOTOS * 2_000);

const at = temporaryFolder();

/** `distillvlm work` with one inference process. */
class WorkerProcess {
  readonly process: ChildProcess;
  /** Events that it logged. */
  readonly events: string[] = [];
  /** Standard error. */
  said = '';

  constructor(url: string, environment: Record<string, string> = {}) {
    const script = path.join(__dirname, '../../../dist/batch/main.js');
    this.process = spawn(process.execPath, [script, 'work', '--queue', url, '--workers', '1', '--lock-seconds', '2'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, MODEL_DIR: TINY_BUNDLE, INTRA_OP_THREADS: '1', ...environment },
    });
    this.process.stderr?.on('data', (chunk: Buffer) => (this.said += chunk.toString()));
    if (this.process.stdout !== null) {
      createInterface(this.process.stdout).on('line', (line) => {
        this.events.push((JSON.parse(line) as { event: string }).event);
      });
    }
  }

  async until(event: string): Promise<void> {
    while (!this.events.includes(event)) {
      await sleep(5);
    }
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const gone = once(this.process, 'exit');
      this.process.kill(signal);
      await gone;
    }
    return this.process.exitCode;
  }
}

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

  function startWorker(): WorkerProcess {
    const worker = new WorkerProcess(server.url, environment);
    workers.push(worker);
    return worker;
  }

  function journalled(output: string): number {
    return existsSync(`${output}.journal`) ? readFileSync(`${output}.journal`, 'utf8').split('\n').length - 2 : 0;
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
    const [first, second, third] = [startWorker(), startWorker(), startWorker()];
    await Promise.all(workers.map((worker) => worker.until('ready')));
    const broken = startScore(queued, environment);
    await first.until('batch_scored');
    await untilJournalled(out, Math.floor(batches / 5));
    await first.end('SIGKILL');
    const gone = once(broken, 'exit');
    broken.kill('SIGKILL');
    await gone;
    expect(journalled(out)).toBeLessThan(batches);

    const run = score([...queued, '--json'], { environment });
    await second.until('batch_scored');
    await untilJournalled(out, Math.floor((2 * batches) / 5));
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
