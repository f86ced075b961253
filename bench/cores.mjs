// How the cores are best shared: every split of them into inference processes and threads, with one client (what a
// person waits) and with many (what the host does), each in turn so that a noisy machine harms all alike.
// usage: npm run build && node bench/cores.mjs [<seconds a phase>]
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { closedLoop } from './load/clients.mjs';
import { makePhotos, readPhotos } from './load/photos.mjs';
import { startServer } from './load/server.mjs';

const ROUNDS = 3;
const MANY_CLIENTS = 32;

const seconds = Number(process.argv[2] ?? 10);
const cores = availableParallelism();
const splits = Array.from({ length: cores }, (_, index) => index + 1)
  .filter((processes) => cores % processes === 0)
  .map((processes) => ({ processes, threads: cores / processes, waits: [], rates: [], cpuSeconds: [], megabytes: 0 }));
const folder = await mkdtemp(path.join(tmpdir(), 'cores-'));
await makePhotos(folder, 100);
const photos = await readPhotos(folder);

for (let round = 0; round < ROUNDS; round += 1) {
  for (const split of splits) {
    await measure(split);
  }
}
await rm(folder, { recursive: true });

const [first] = splits;
console.log(`${cores} cores, medians of ${ROUNDS} rounds of ${seconds} s, captions\n`);
console.log(
  '| processes x threads | one client: p50 ms | ratio | 32 clients: a second | ratio | CPU s each | resident MB |',
);
console.log('|---|---|---|---|---|---|---|');
for (const { processes, threads, waits, rates, cpuSeconds, megabytes } of splits) {
  const cells = [
    `${processes} x ${threads}`,
    median(waits).toFixed(0),
    (median(waits) / median(first.waits)).toFixed(2),
    median(rates).toFixed(1),
    (median(rates) / median(first.rates)).toFixed(2),
    median(cpuSeconds).toFixed(4),
    megabytes.toFixed(0),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

async function measure(split) {
  const server = await startServer({
    CACHE_MB: '0',
    INFERENCE_PROCESSES: String(split.processes),
    INTRA_OP_THREADS: String(split.threads),
  });
  const url = `${server.origin}/caption`;
  await closedLoop(url, photos, 8, 3);
  split.waits.push(median((await closedLoop(url, photos, 1, seconds)).map(({ ms }) => ms)));
  const before = server.usage();
  const startMs = performance.now();
  const answered = (await closedLoop(url, photos, MANY_CLIENTS, seconds)).filter(({ status }) => status === 200);
  split.rates.push((answered.length * 1e3) / (performance.now() - startMs));
  const after = server.usage();
  split.cpuSeconds.push((after.cpuSeconds - before.cpuSeconds) / answered.length);
  split.megabytes = Math.max(split.megabytes, (after.serverBytes + after.inferenceBytes) / 1e6);
  await server.stop();
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
