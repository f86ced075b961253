// CPU seconds that `score` takes for each photo beside those of the bare loop (files read, decoded and run through the
// graphs, by as many processes), for captions and answers, on photos of mixed sizes, in turns on the same machine.
// usage: npm run build && node bench/score-cpu.mjs [<photos> [<folder of JPEGs> [<rounds>]]]; MODEL_DIR as for the server
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { QUESTION } from './load/bare-model.mjs';
import { bundle, collectionOf, costOf, median, runScore } from './score/processes.mjs';

const BATCH = 8;
const BARE = path.join(import.meta.dirname, 'score', 'bare-loop.mjs');

const [count = 300, given, rounds = 5] = process.argv.slice(2);
const cores = availableParallelism();
const work = await mkdtemp(path.join(tmpdir(), 'score-cpu-'));
const { folder, photos } = await collectionOf(work, Number(count), given);
const splits = [1, cores].map((workers) => ({ workers, threads: Math.floor(cores / workers) }));
const rows = ['caption', 'vqa'].flatMap((route) => splits.map((split) => ({ route, ...split, bare: [], score: [] })));

for (let round = 0; round < rounds; round += 1) {
  for (const row of rows) {
    for (const [name, run] of Object.entries({ bare, score })) {
      const start = (await run(row, row.workers * BATCH)).cpuSeconds;
      const whole = (await run(row, photos)).cpuSeconds;
      row[name].push({ whole, each: (whole - start) / (photos - row.workers * BATCH) });
    }
    const [bareEach, scoreEach] = [row.bare, row.score].map((runs) => runs.at(-1).each.toFixed(4));
    console.error(`round ${round}, ${row.route}, ${row.workers} x ${row.threads}: ${bareEach}, ${scoreEach}`);
  }
}
await rm(work, { recursive: true });

console.log(`${photos} photos, batches of ${BATCH}, ${cores} cores, medians of ${rounds} rounds (lowest to highest)\n`);
console.log(
  '| | processes x threads | bare loop: CPU s a photo | score: CPU s a photo | ratio | ratio with the start |',
);
console.log('|---|---|---|---|---|---|');
for (const { route, workers, threads, bare: bareRuns, score: scoreRuns } of rows) {
  const ratios = (key) => scoreRuns.map((run, round) => run[key] / bareRuns[round][key]);
  const each = ratios('each');
  const range = [Math.min(...each), Math.max(...each)].map((ratio) => ratio.toFixed(2)).join(' to ');
  const cells = [
    route === 'caption' ? 'captions' : 'answers',
    `${workers} x ${threads}`,
    median(bareRuns.map((run) => run.each)).toFixed(4),
    median(scoreRuns.map((run) => run.each)).toFixed(4),
    `${median(each).toFixed(2)} (${range})`,
    median(ratios('whole')).toFixed(2),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

function bare({ route, workers, threads }, limit) {
  const args = (index) => [BARE, bundle, folder, route, threads, BATCH, limit, index, workers].map(String);
  return costOf(Array.from({ length: workers }, (_, index) => args(index)));
}

function score({ route, workers }, limit) {
  const question = route === 'vqa' ? QUESTION : undefined;
  return runScore({ work, folder, workers, batch: BATCH, limit, question });
}
