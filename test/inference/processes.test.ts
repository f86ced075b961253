import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Batch } from '../../src/inference/messages';
import { InferenceProcess, ProcessDied } from '../../src/inference/process';
import type { CaptionResult } from '../../src/vision-language/results';
import { goldenImage } from '../golden';
import { editManifest, TINY_BUNDLE, withBundleCopy } from '../tiny-bundle';
import { CHILD, OPTIONS, ServiceUnderTest } from './service-under-test';

jest.setTimeout(60_000);

// What real processes do with a real bundle.

const PHOTO = goldenImage('exif-6.jpg');
const IDENTICAL_BUT_LAST_DIGITS = 4;

let underTest: ServiceUnderTest;

beforeEach(() => {
  underTest = new ServiceUnderTest();
});

afterEach(async () => {
  await underTest.service.close(0);
});

function caption(image = PHOTO): Promise<CaptionResult> {
  return underTest.service.run({ task: 'caption', image, options: OPTIONS, priority: 'interactive' });
}

function expectSame(result: CaptionResult, expected: CaptionResult): void {
  expect(result.captions[0]?.caption).toBe(expected.captions[0]?.caption);
  expect(result.captions[0]?.logProbability).toBeCloseTo(
    expected.captions[0]?.logProbability ?? NaN,
    IDENTICAL_BUT_LAST_DIGITS,
  );
}

test('captions and answers come back, and a broken photo of the same batch fails alone', async () => {
  await underTest.service.ready();
  const [good, broken] = await Promise.allSettled([caption(), caption(PHOTO.subarray(0, 1000))]);
  // 72 x 96 lies on its side in the file.
  expect(good).toMatchObject({ status: 'fulfilled', value: { width: 96, height: 72 } });
  expect(broken).toMatchObject({ status: 'rejected', reason: { name: 'ServiceError', code: 'undecodable_image' } });
  const questions = ['what colour is the dog?', 'how many?'];
  const asked = { task: 'vqa', image: PHOTO, questions, options: OPTIONS, priority: 'interactive' } as const;
  const answered = await underTest.service.run(asked);
  expect(answered.results.map(({ question, answers }) => [question, answers.length])).toEqual([
    ['what colour is the dog?', 5],
    ['how many?', 5],
  ]);
});

test('a process that is killed in the middle of a run is replaced, and the photo gets its right answer', async () => {
  const expected = await caption();
  const first = await underTest.pid();
  process.kill(first, 'SIGSTOP');
  const answer = caption();
  // The stopped process has been handed the photo and can never finish it.
  await sleep(50);
  process.kill(first, 'SIGKILL');
  expectSame(await answer, expected);
  expect(await underTest.pid(2)).not.toBe(first);
});

test('photos that come when an idle process has died, and nobody has heard of it yet, wait for the next', async () => {
  const expected = await caption();
  const pid = await underTest.pid();
  // In the turn of the event loop in which a file was read, the end of a process is not looked for any more.
  await readFile(__filename);
  process.kill(pid, 'SIGKILL');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  for (const answer of await Promise.all([caption(), caption()])) {
    expectSame(answer, expected);
  }
});

test('a request that comes while the only process restarts waits for it', async () => {
  const expected = await caption();
  const first = await underTest.pid();
  process.kill(first, 'SIGKILL');
  while (underTest.service.state === 'ready') {
    await sleep(1);
  }
  expectSame(await caption(), expected);
  expect(underTest.service.state).toBe('ready');
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s to a process is for its parent to act on', async (signal) => {
  const pid = await underTest.pid();
  process.kill(pid, signal);
  await caption();
  expect(underTest.pids).toEqual([pid]);
});

test('both batches that a killed process had in hand are answered by the next one', async () => {
  const ahead = new ServiceUnderTest({ ahead: 1, maxBatch: 1 });
  const run = (image: Buffer): Promise<CaptionResult> =>
    ahead.service.run({ task: 'caption', image, options: OPTIONS, priority: 'bulk' });
  const other = goldenImage('grey.png');
  const expected = [await run(PHOTO), await run(other)] as const;
  const first = await ahead.pid();
  process.kill(first, 'SIGSTOP');
  const units: number[] = [];
  ahead.service.events.on('batchStarted', (batch) => units.push(batch.units));
  const answers = [run(PHOTO), run(other)] as const;
  await sleep(50);
  expect(units).toEqual([1, 1]);
  process.kill(first, 'SIGKILL');
  expectSame(await answers[0], expected[0]);
  expectSame(await answers[1], expected[1]);
  await ahead.service.close(0);
});

describe('one process', () => {
  const result = { result: expect.objectContaining({ width: 96 }) as CaptionResult };
  let child: InferenceProcess;
  let stages: string[];

  beforeEach(async () => {
    stages = [];
    child = await InferenceProcess.start({
      bundles: [{ directory: TINY_BUNDLE }],
      predictor: { maxPixelsInDecoding: 50e6, cacheBytes: 0 },
      threads: 1,
      device: 'cpu',
      precision: 'auto',
      slot: 0,
      entry: CHILD,
      stageTimeoutMs: 600_000,
      onStage: ({ stage, photos }) => stages.push(`${stage} ${photos}`),
    });
    await child.load();
  });

  afterEach(async () => {
    child.end();
    await child.exited;
  });

  function batchOf(count: number): Batch {
    return { task: 'caption', options: OPTIONS, photos: Array(count).fill({ image: PHOTO, questions: [] }) };
  }

  test('a photo that is cancelled while its batch runs is dropped, the others are not', async () => {
    const run = child.run(1, batchOf(3));
    child.cancel(1, 1);
    await expect(run).resolves.toEqual([result, 'cancelled', result]);
  });

  test('one that has gone takes no batch', async () => {
    child.end();
    await child.exited;
    expect(child.status).toBe('gone');
    await expect(child.run(1, batchOf(1))).rejects.toThrow(ProcessDied);
  });

  test('a second batch is taken while the first has the graphs, which it gets afterwards', async () => {
    const runs = [child.run(1, batchOf(2)), child.run(2, batchOf(3))];
    expect(child.batchesInHand).toBe(2);
    const [first, second] = await Promise.all(runs);
    expect([first?.length, second?.length]).toEqual([2, 3]);
    expect(stages.filter((stage) => !stage.startsWith('decode'))).toEqual([
      'detect 2',
      'prefix 2',
      'caption 2',
      'detect 3',
      'prefix 3',
      'caption 3',
    ]);
    expect(child.batchesInHand).toBe(0);
  });

  test('a photo of the second batch is cancelled before it has its turn', async () => {
    const runs = [child.run(1, batchOf(1)), child.run(2, batchOf(2))];
    child.cancel(2, 0);
    await expect(Promise.all(runs)).resolves.toEqual([[result], ['cancelled', result]]);
    expect(stages).toContain('detect 1');
    expect(stages).not.toContain('detect 2');
  });
});

test('processes end when their parent is killed', async () => {
  const script = `
    const { createInferenceService } = require(${JSON.stringify(path.join(__dirname, '../../dist/inference/create-service'))});
    const logger = { info: (fields) => console.log(JSON.stringify(fields)), error: console.error };
    createInferenceService({
      bundle: ${JSON.stringify(TINY_BUNDLE)}, processes: 1, threads: 1, maxBatch: 8,
      stageTimeoutMs: 600_000, maxPixelsInDecoding: 50e6, cacheBytes: 0, logger,
    });`;
  const parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const { pid } = JSON.parse(line.toString()) as { pid: number };
  expect(process.kill(pid, 0)).toBe(true);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  while (isRunning(pid)) {
    await sleep(5);
  }
});

/** One that has ended and is nobody's child may stay in the list of processes until the system's first one looks. */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

test('where the system has no file descriptors left, starting is tried again until it has', async () => {
  const script = `
    const { closeSync, openSync } = require('node:fs');
    const { createInferenceService } = require(${JSON.stringify(path.join(__dirname, '../../dist/inference/create-service'))});
    const taken = [];
    try {
      for (;;) taken.push(openSync('/dev/null'));
    } catch {}
    const logger = {
      info() {},
      error({ err }) {
        console.log(err.code);
        taken.splice(0).forEach((fd) => closeSync(fd));
      },
    };
    const service = createInferenceService({
      bundle: ${JSON.stringify(TINY_BUNDLE)}, processes: 1, threads: 1, maxBatch: 8,
      stageTimeoutMs: 600_000, maxPixelsInDecoding: 50e6, cacheBytes: 0, logger,
    });
    service.ready().then(() => console.log('ready')).then(() => service.close(0));`;
  const limited = 'ulimit -n 100; exec "$0" -e "$1"';
  const parent = spawn('bash', ['-c', limited, process.execPath, script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const printed: Buffer[] = [];
  parent.stdout.on('data', (chunk: Buffer) => printed.push(chunk));
  const [code] = (await once(parent, 'close')) as [number];
  expect([code, Buffer.concat(printed).toString()]).toEqual([0, 'EMFILE\nready\n']);
});

test('a bundle whose graphs are not those of its manifest is refused by a sentence', async () => {
  await withBundleCopy(async (bundle) => {
    await editManifest(bundle, ({ graphs, ...manifest }) => ({
      ...manifest,
      graphs: { ...graphs, answer: { ...graphs.answer, outputs: graphs.caption.outputs } },
    }));
    const refused = new ServiceUnderTest({ bundle });
    await expect(refused.service.ready()).rejects.toMatchObject({
      name: 'BundleError',
      message: expect.stringMatching(/^The outputs of answer\.onnx are logits/) as string,
    });
    await refused.service.close(0);
  });
});
