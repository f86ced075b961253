// Which batch size and which split of the cores into processes and threads scoring takes best: every combination in turns,
// so that a noisy machine harms all alike. CPU seconds and photos a second are of the photos alone, without the start.
// usage: npm run build && node bench/score-split.mjs [<photos> [<folder of JPEGs> [<rounds>]]]; MODEL_DIR as for the server
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { collectionOf, median, runScore } from './score/processes.mjs';

const SIZES = [1, 2, 4, 8, 16, 32];

const [count = 128, given, rounds = 3] = process.argv.slice(2);
const cores = availableParallelism();
const work = await mkdtemp(path.join(tmpdir(), 'score-split-'));
const { folder, photos } = await collectionOf(work, Number(count), given);
const splits = Array.from({ length: cores }, (_, index) => index + 1).filter((workers) => cores % workers === 0);
const rows = splits.flatMap((workers) => SIZES.map((batch) => ({ workers, batch, runs: [] })));

for (let round = 0; round < rounds; round += 1) {
  for (const row of rows) {
    const start = await runScore({ ...row, work, folder, limit: row.workers });
    const whole = await runScore({ ...row, work, folder, limit: photos });
    const scored = photos - row.workers;
    const cpuSeconds = (whole.cpuSeconds - start.cpuSeconds) / scored;
    row.runs.push({ cpuSeconds, perSecond: scored / (whole.seconds - start.seconds) });
    console.error(`round ${round}, ${row.workers} processes, batches of ${row.batch}: ${cpuSeconds.toFixed(4)}`);
  }
}
await rm(work, { recursive: true });

const reference = rows.find(({ workers, batch }) => workers === 1 && batch === 8);
console.log(
  `${photos} photos, captions, ${cores} cores, medians of ${rounds} rounds, ratios to 1 process and batches of 8\n`,
);
console.log(
  '| processes x threads | batch size | photos a second | ratio | CPU s a photo | ratio |\n|---|---|---|---|---|---|',
);
for (const { workers, batch, runs } of rows) {
  const of = (key) => median(runs.map((run) => run[key]));
  const ratio = (key) => median(runs.map((run, round) => run[key] / reference.runs[round][key])).toFixed(2);
  const speed = `${of('perSecond').toFixed(1)} | ${ratio('perSecond')}`;
  const cost = `${of('cpuSeconds').toFixed(4)} | ${ratio('cpuSeconds')}`;
  console.log(`| ${workers} x ${cores / workers} | ${batch} | ${speed} | ${cost} |`);
}
