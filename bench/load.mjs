// The server under load: closed loop with 1 to 128 clients, open loop at 0.5 to 10 times what it can do, the last of it
// three times over, both routes, photos of mixed sizes up to 12 MB, beside the bare loop (image decode and graphs, the
// same batch size, no HTTP). Photos cost very different amounts, so a phase is held against what the bare loop takes for
// the photos that it answered; and what other programs take of the machine is left out, as what the clients take is.
// usage: npm run build && node bench/load.mjs [<seconds a phase>]; MODEL_DIR, INFERENCE_PROCESSES and so on as for the server
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { closedLoop, openLoop } from './load/clients.mjs';
import { makePhotos, readPhotos } from './load/photos.mjs';
import { startServer, TICKS_PER_SECOND } from './load/server.mjs';

const require = createRequire(import.meta.url);
const { readSettings } = require('../dist/config.js');
const run = promisify(execFile);

const seconds = Number(process.argv[2] ?? 20);
const cores = availableParallelism();
const { inferenceProcesses: processes, intraOpThreads: threads, maxBatch: batch, modelDir: bundle } = readSettings();

console.log(
  `${cores} cores, ${processes} process(es) of ${threads} thread(s), batches of ${batch}, ${seconds} s a phase\n`,
);
const folder = await mkdtemp(path.join(tmpdir(), 'load-'));
await makePhotos(folder, 100);
const photos = await readPhotos(folder);
const bare = await bareLoops();
const COLUMNS = [
  'load',
  'answered / s',
  'refused',
  'other',
  'p50 ms',
  'p99 ms',
  'CPU s each',
  'x bare loop',
  'per free CPU s',
  'of peak',
  'health p99 ms',
  'resident MB: server + inference',
];
for (const [route, question] of [
  ['caption', ''],
  ['vqa', '?question=What+is+it%3F'],
]) {
  console.log(
    `\n${route}: the bare loop takes ${bare[route].cpuSeconds.toFixed(4)} CPU s and does ${bare[route].perSecond.toFixed(1)} a second`,
  );
  console.log(`| ${COLUMNS.join(' | ')} |\n|${COLUMNS.map(() => '---').join('|')}|`);
  const server = await startServer({ MODEL_DIR: bundle, CACHE_MB: '0', LOG_LEVEL: 'info' });
  const url = `${server.origin}/${route}${question}`;
  await closedLoop(url, photos, 8, 3);
  const best = { perSecond: 0, perFreeSecond: 0 };
  for (const clients of [1, 8, 32, 128]) {
    await phase(`${clients} clients`, route, server, best, () => closedLoop(url, photos, clients, seconds));
  }
  const capacity = best.perSecond;
  for (const times of [0.5, 1, 2, 5, 10, 10, 10]) {
    await phase(`${times} x capacity`, route, server, best, () => openLoop(url, photos, times * capacity, seconds));
  }
  console.log(`the server's exit code: ${await server.stop()}`);
}
await rm(folder, { recursive: true });

/** Runs one load and prints its row; `best` is what the phases so far have reached. */
async function phase(name, route, server, best, load) {
  const watch = watchServer(server);
  const [before, idleBefore, startMs] = [server.usage(), idleSeconds(), performance.now()];
  const results = await load();
  const wallSeconds = (performance.now() - startMs) / 1e3;
  const [after, idleAfter] = [server.usage(), idleSeconds()];
  const { healthMs, serverBytes, inferenceBytes } = await watch.stop();

  const answered = results.filter(({ status }) => status === 200);
  const refused = results.filter(({ status, retryAfter }) => status === 503 && /^\d+$/.test(retryAfter ?? ''));
  const others = results.filter((result) => !answered.includes(result) && !refused.includes(result));
  const latencies = answered.map(({ ms }) => ms);
  const cpuSeconds = after.cpuSeconds - before.cpuSeconds;
  const bareSeconds = answered.reduce((sum, { photo }) => sum + bareSecondsOf(route, photo), 0);
  const freeSeconds = cpuSeconds + idleAfter - idleBefore;
  // Of photos that cost what they cost on average.
  const perFreeSecond = bareSeconds / bare[route].cpuSeconds / freeSeconds;
  best.perSecond = Math.max(best.perSecond, answered.length / wallSeconds);
  best.perFreeSecond = Math.max(best.perFreeSecond, perFreeSecond);
  const cells = [
    name,
    (answered.length / wallSeconds).toFixed(1),
    refused.length,
    others.length === 0 ? 0 : `${others.length} (${[...new Set(others.map(({ status }) => status))].join(', ')})`,
    percentile(latencies, 0.5),
    percentile(latencies, 0.99),
    (cpuSeconds / answered.length).toFixed(4),
    (cpuSeconds / bareSeconds).toFixed(2),
    perFreeSecond.toFixed(1),
    (perFreeSecond / best.perFreeSecond).toFixed(2),
    percentile(healthMs, 0.99),
    `${Math.round(serverBytes / 1e6)} + ${Math.round(inferenceBytes / 1e6)}`,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

function bareSecondsOf(route, photo) {
  const { decodeSeconds } = bare;
  const meanDecode = decodeSeconds.reduce((sum, each) => sum + each, 0) / decodeSeconds.length;
  return bare[route].cpuSeconds - meanDecode + decodeSeconds[photo];
}

/** As many side by side as the server has processes, and their means: they are in each other's way in the same manner. */
async function bareLoops() {
  const args = ['bare-loop.mjs', bundle, folder, threads, batch, seconds].map(String);
  const options = { cwd: path.join(import.meta.dirname, 'load') };
  const loops = await Promise.all(Array.from({ length: processes }, () => run(process.execPath, args, options)));
  const figures = loops.map(({ stdout }) => JSON.parse(stdout));
  const mean = (of) => figures.reduce((sum, figure) => sum + of(figure), 0) / figures.length;
  const meansOf = (route) => ({
    cpuSeconds: mean((figure) => figure[route].cpuSeconds),
    perSecond: mean((figure) => figure[route].perSecond) * processes,
  });
  return {
    decodeSeconds: photos.map((_, photo) => mean((figure) => figure.decodeSeconds[photo])),
    caption: meansOf('caption'),
    vqa: meansOf('vqa'),
  };
}

/** Of all cores together, since the machine started. */
function idleSeconds() {
  const [, , , , idle, waiting] = readFileSync('/proc/stat', 'utf8').split(/\s+/, 6).map(Number);
  return (idle + waiting) / TICKS_PER_SECOND;
}

/** Asks for its health all the time, and looks how large it gets. */
function watchServer(server) {
  const seen = { healthMs: [], serverBytes: 0, inferenceBytes: 0 };
  let watching = true;
  const watch = async () => {
    while (watching) {
      const startMs = performance.now();
      await (await fetch(`${server.origin}/health/live`)).text();
      seen.healthMs.push(performance.now() - startMs);
      const { serverBytes, inferenceBytes } = server.usage();
      seen.serverBytes = Math.max(seen.serverBytes, serverBytes);
      seen.inferenceBytes = Math.max(seen.inferenceBytes, inferenceBytes);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const watched = watch();
  return {
    stop: async () => {
      watching = false;
      await watched;
      return seen;
    },
  };
}

function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN);
}
