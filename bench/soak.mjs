// The server under load for an hour: clients that ask for captions and answers as fast as they get them, and every five
// minutes a burst of ten times as many. Photos of mixed sizes up to 12 MB, cache on. Prints for every five minutes the most
// memory that the server and its inference processes had, and fails where the second half has more than the first by a
// tenth, where a reply is neither an answer nor a refusal, or where the server does not end with 0.
// usage: npm run build && node bench/soak.mjs [<minutes>]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { clearInterval, setInterval } from 'node:timers';
import { closedLoop } from './load/clients.mjs';
import { makePhotos, readPhotos } from './load/photos.mjs';
import { startServer } from './load/server.mjs';

const PERIOD_SECONDS = 300;
const BURST_SECONDS = 20;
const CLIENTS = 16;
const CLIENTS_OF_BURST = 10 * CLIENTS;
const GROWTH = 1.1;

const periods = Math.max(2, Math.round((Number(process.argv[2] ?? 60) * 60) / PERIOD_SECONDS));
const folder = await mkdtemp(path.join(tmpdir(), 'soak-'));
await makePhotos(folder, 100);
const photos = await readPhotos(folder);
const server = await startServer({ LOG_LEVEL: 'info' });

let peak = { serverBytes: 0, inferenceBytes: 0 };
const watch = setInterval(() => {
  const { serverBytes, inferenceBytes } = server.usage();
  peak = {
    serverBytes: Math.max(peak.serverBytes, serverBytes),
    inferenceBytes: Math.max(peak.inferenceBytes, inferenceBytes),
  };
}, 1_000);

console.log('| until minute | answered | refused | other | MB at most: server | inference |');
console.log('|---|---|---|---|---|---|');
const peaks = [];
let strange = 0;
for (let period = 1; period <= periods; period += 1) {
  peak = { serverBytes: 0, inferenceBytes: 0 };
  const results = [
    ...(await ask(CLIENTS, PERIOD_SECONDS - BURST_SECONDS)),
    ...(await ask(CLIENTS_OF_BURST, BURST_SECONDS)),
  ];
  const answered = results.filter(({ status }) => status === 200).length;
  const refused = results.filter(({ status, retryAfter }) => status === 503 && retryAfter !== undefined).length;
  const others = results.length - answered - refused;
  strange += others;
  peaks.push(peak.serverBytes + peak.inferenceBytes);
  const megabytes = [peak.serverBytes, peak.inferenceBytes].map((bytes) => Math.round(bytes / 1e6));
  console.log(`| ${[(period * PERIOD_SECONDS) / 60, answered, refused, others, ...megabytes].join(' | ')} |`);
}
clearInterval(watch);
const code = await server.stop();
await rm(folder, { recursive: true });

const middle = Math.floor(periods / 2);
const growth = Math.max(...peaks.slice(middle)) / Math.max(...peaks.slice(0, middle));
console.log(`\nThe second half had ${growth.toFixed(2)} of the first one's memory; the server's exit code: ${code}`);
process.exitCode = growth <= GROWTH && strange === 0 && code === 0 ? 0 : 1;

/** Half of the clients ask for captions, half for answers. */
async function ask(clients, seconds) {
  const routes = ['/caption', '/vqa?question=What+is+it%3F'];
  const results = await Promise.all(
    routes.map((route) => closedLoop(`${server.origin}${route}`, photos, clients / routes.length, seconds)),
  );
  return results.flat();
}
