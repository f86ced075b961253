// What it is worth that a process of scoring decodes a batch while it runs another: photos a second and CPU seconds a
// photo of one process, with and without, in turns on the same machine; with the bundle's graphs on all cores, and with
// the tiny bundle's, which then wait as for a GPU.
// usage: npm run build && node bench/score-ahead.mjs [<photos> [<folder of JPEGs> [<rounds>]]]; MODEL_DIR as for the server
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { QUESTION } from './load/bare-model.mjs';
import { cpuSecondsOf } from './load/server.mjs';
import { bundle, collectionOf, median } from './score/processes.mjs';

const require = createRequire(import.meta.url);
const { createInferenceService } = require('../dist/inference/create-service.js');
const { inOrder } = require('../dist/batch/in-order.js');
const { LocalScorer } = require('../dist/batch/scorers/local-scorer.js');

const BATCH = 8;
const WAIT_MS = 100; // of each of the three graphs of a batch
const DECODING = { numBeams: 5, numCaptions: 1, maxTokens: 20, topK: 5, regions: false, explain: false };
const TINY = path.join(import.meta.dirname, '..', 'test', 'fixtures', 'bundle-tiny');
const WAITING = path.join(import.meta.dirname, 'score', 'waiting-child.mjs');

const [count = 160, given, rounds = 5] = process.argv.slice(2);
process.env.WAIT_MS = String(WAIT_MS);
const work = await mkdtemp(path.join(tmpdir(), 'score-ahead-'));
const { folder, photos } = await collectionOf(work, Number(count), given);
const images = (await readdir(folder))
  .sort()
  .slice(0, photos)
  .map((name) => path.join(folder, name));
const graphs = [
  { name: 'on the CPU', options: { bundle } },
  { name: `stand-in for a GPU, ${WAIT_MS} ms a graph`, options: { bundle: TINY, childEntry: WAITING } },
];

console.log(`${photos} photos, one process, ${availableParallelism()} cores, medians of ${rounds} rounds\n`);
console.log('| graphs | | photos a second: 0 ahead | 1 ahead | ratio (lowest to highest) | CPU of 1 / of 0 |');
console.log('|---|---|---|---|---|---|');
for (const { name, options } of graphs) {
  const processes = [await start({ ...options, ahead: 0 }), await start({ ...options, ahead: 1 })];
  for (const [what, question] of Object.entries({ captions: undefined, answers: QUESTION })) {
    const runs = [];
    for (let round = -1; round < rounds; round += 1) {
      const [none, one] = [await measure(processes[0], question), await measure(processes[1], question)];
      // The first round is for the file cache and the memory of the graphs.
      if (round >= 0) {
        runs.push({ none, one, ratio: none.seconds / one.seconds, cpu: one.cpuSeconds / none.cpuSeconds });
      }
    }
    const rate = (key) => (photos / median(runs.map((run) => run[key].seconds))).toFixed(1);
    const ratios = runs.map(({ ratio }) => ratio);
    const range = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
    const cells = [name, what, rate('none'), rate('one'), `${median(ratios).toFixed(2)} (${range})`];
    console.log(`| ${[...cells, median(runs.map(({ cpu }) => cpu)).toFixed(2)].join(' | ')} |`);
  }
  await Promise.all(processes.map(({ service }) => service.close(0)));
}
await rm(work, { recursive: true });

async function start(options) {
  let pid = 0;
  const info = (fields) => {
    pid = fields.event === 'inference_process_ready' ? fields.pid : pid;
  };
  const service = createInferenceService({
    processes: 1,
    threads: availableParallelism(),
    maxBatch: BATCH,
    stageTimeoutMs: 600_000,
    maxPixelsInDecoding: 100e6,
    cacheBytes: 0,
    logger: { info, warn: console.error, error: console.error },
    ...options,
  });
  await service.ready();
  return { service, pid };
}

async function measure({ service, pid }, question) {
  const scorer = new LocalScorer(service, DECODING);
  const batches = Array.from({ length: Math.ceil(images.length / BATCH) }, (_, index) => ({
    index,
    items: images.slice(index * BATCH, (index + 1) * BATCH).map((image) => ({ image, question })),
  }));
  const [startMs, before] = [performance.now(), cpuSecondsOf(pid)];
  for await (const outcomes of inOrder(batches, 3, (batch) => scorer.score(batch))) {
    const broken = outcomes.find(({ problem }) => problem);
    if (broken) {
      throw new Error(broken.problem.detail);
    }
  }
  return { seconds: (performance.now() - startMs) / 1e3, cpuSeconds: cpuSecondsOf(pid) - before };
}
