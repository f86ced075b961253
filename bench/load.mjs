// The server under load: closed loop with 1 to 128 clients, open loop at 0.5 to 10 times what it can do, both routes,
// photos of mixed sizes up to 12 MB, beside the bare loop (image decode and graphs, the same batch size, no HTTP).
// usage: npm run build && node bench/load.mjs [<seconds a phase>]; MODEL_DIR, INFERENCE_PROCESSES and so on as for the server
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { closedLoop, openLoop } from './load/clients.mjs';
import { makePhotos, readPhotos } from './load/photos.mjs';
import { startServer } from './load/server.mjs';

const seconds = Number(process.argv[2] ?? 20);
const cores = availableParallelism();
const processes = Number(process.env.INFERENCE_PROCESSES ?? 1);
const batch = Number(process.env.MAX_BATCH ?? 8);
const threads = Math.max(1, Math.floor(cores / processes));
const bundle = path.resolve(process.env.MODEL_DIR ?? 'models/photos');

console.log(
  `${cores} cores, ${processes} process(es) of ${threads} thread(s), batches of ${batch}, ${seconds} s a phase\n`,
);
const folder = await mkdtemp(path.join(tmpdir(), 'load-'));
await makePhotos(folder, 100);
const photos = await readPhotos(folder);
const bare = bareLoop();
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
  'health p99 ms',
  'resident MB',
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
  let capacity = 0;
  for (const clients of [1, 8, 32, 128]) {
    const { perSecond } = await phase(`${clients} clients`, route, server, () =>
      closedLoop(url, photos, clients, seconds),
    );
    capacity = Math.max(capacity, perSecond);
  }
  for (const times of [0.5, 1, 2, 5, 10]) {
    await phase(`${times} x capacity`, route, server, () => openLoop(url, photos, times * capacity, seconds));
  }
  console.log(`the server's exit code: ${await server.stop()}`);
}
await rm(folder, { recursive: true });

/** Runs one load, prints its row, and gives how many requests were answered each second. */
async function phase(name, route, server, load) {
  const health = watchHealth(server.origin);
  const [before, own, startMs] = [server.usage(), process.cpuUsage(), performance.now()];
  const results = await load();
  const wallSeconds = (performance.now() - startMs) / 1e3;
  const { user, system } = process.cpuUsage(own);
  const after = server.usage();
  const healthMs = await health.stop();

  const answered = results.filter(({ status }) => status === 200);
  const refused = results.filter(({ status, retryAfter }) => status === 503 && /^\d+$/.test(retryAfter ?? ''));
  const others = results.filter((result) => !answered.includes(result) && !refused.includes(result));
  const latencies = answered.map(({ ms }) => ms);
  const cpuSeconds = (after.cpuSeconds - before.cpuSeconds) / answered.length;
  const freeSeconds = cores * wallSeconds - (user + system) / 1e6;
  const perSecond = answered.length / wallSeconds;
  const cells = [
    name,
    perSecond.toFixed(1),
    refused.length,
    others.length === 0 ? 0 : `${others.length} (${[...new Set(others.map(({ status }) => status))].join(', ')})`,
    percentile(latencies, 0.5),
    percentile(latencies, 0.99),
    cpuSeconds.toFixed(4),
    (cpuSeconds / bare[route].cpuSeconds).toFixed(2),
    (answered.length / freeSeconds).toFixed(1),
    percentile(healthMs, 0.99),
    Math.round(after.residentBytes / 1e6),
  ];
  console.log(`| ${cells.join(' | ')} |`);
  return { perSecond };
}

function bareLoop() {
  const script = path.join(import.meta.dirname, 'load', 'bare-loop.mjs');
  const output = execFileSync(process.execPath, [script, bundle, folder, threads, batch, seconds], {
    encoding: 'utf8',
  });
  const rows = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return Object.fromEntries(rows.map((row) => [row.route, row]));
}

function watchHealth(origin) {
  const times = [];
  let watching = true;
  const watch = async () => {
    while (watching) {
      const startMs = performance.now();
      await (await fetch(`${origin}/health/live`)).text();
      times.push(performance.now() - startMs);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const watched = watch();
  return {
    stop: async () => {
      watching = false;
      await watched;
      return times;
    },
  };
}

function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN);
}
