// The server under load for an hour: clients that ask for captions and answers as fast as they get them, and every five
// minutes a burst of more uploads than the queue takes. Photos of mixed sizes up to 12 MB, cache on. Prints for every five
// minutes the most memory that the server and its inference processes had, and fails where the second half has more than the
// first by a tenth, where a reply is neither an answer nor a refusal, or where the server does not end with 0. In a burst a
// connection may be cut off: the body of a refused request is read for two seconds at most.
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
const CLIENTS_OF_BURST = 320;
const CUT_OFF = ['ECONNRESET', 'EPIPE'];
const GROWTH = 1.1;

const minutes = Number(process.argv[2] ?? 60);
const folder = await mkdtemp(path.join(tmpdir(), 'soak-'));
await makePhotos(folder, 100);
const photos = await readPhotos(folder);
// Deadlines are the matter of bench/load.mjs: here other programs may take the machine for a while.
const server = await startServer({ LOG_LEVEL: 'info', REQUEST_TIMEOUT_MS: '600000' });
const startMs = performance.now();
const minutesSoFar = () => (performance.now() - startMs) / 60e3;

let peak = { serverBytes: 0, inferenceBytes: 0 };
const watch = setInterval(() => {
  const { serverBytes, inferenceBytes } = server.usage();
  peak = {
    serverBytes: Math.max(peak.serverBytes, serverBytes),
    inferenceBytes: Math.max(peak.inferenceBytes, inferenceBytes),
  };
}, 1_000);

console.log('| until minute | answered | refused | cut off | other | MB at most: server | inference |');
console.log('|---|---|---|---|---|---|---|');
const peaks = [];
let strange = 0;
while (minutesSoFar() < minutes) {
  peak = { serverBytes: 0, inferenceBytes: 0 };
  const steady = await ask(CLIENTS, PERIOD_SECONDS - BURST_SECONDS);
  const burst = await ask(CLIENTS_OF_BURST, BURST_SECONDS);
  const results = [...steady, ...burst];
  const answered = results.filter(({ status }) => status === 200).length;
  const refused = results.filter(({ status, retryAfter }) => status === 503 && retryAfter !== undefined).length;
  const cutOff = burst.filter(({ status }) => CUT_OFF.includes(status)).length;
  const others = results.length - answered - refused - cutOff;
  strange += others;
  peaks.push(peak.serverBytes + peak.inferenceBytes);
  const megabytes = [peak.serverBytes, peak.inferenceBytes].map((bytes) => Math.round(bytes / 1e6));
  console.log(`| ${[Math.round(minutesSoFar()), answered, refused, cutOff, others, ...megabytes].join(' | ')} |`);
}
clearInterval(watch);
const code = await server.stop();
await rm(folder, { recursive: true });

if (peaks.length < 2) {
  throw new RangeError('Expected more minutes: with one period there is nothing to compare its memory with');
}
const middle = Math.floor(peaks.length / 2);
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
