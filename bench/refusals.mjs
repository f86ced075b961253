// What a refusal under load costs the server, photos of mixed sizes up to 12 MB included, which are read and dropped: one
// upload that goes on keeps a place, and all others have a deadline that they would miss. Beside it, what as many requests
// cost a server of Node's own that reads them and does nothing else. Both in turns.
// usage: npm run build && node bench/refusals.mjs [<requests a second> [<turns of 5 seconds>]]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setInterval } from 'node:timers';
import { openLoop } from './load/clients.mjs';
import { makePhotos, readPhotos } from './load/photos.mjs';
import { cpuSecondsOf, startServer } from './load/server.mjs';

const SECONDS = 5;
const HEADERS = { 'x-request-timeout-ms': '1' };
const UPLOAD_BYTES = 20e6;
const UPLOAD_BYTES_PER_SECOND = 40e3;

if (process.send !== undefined) {
  readAndDrop();
  process.on('message', keepPlace).on('disconnect', () => process.exit(0));
} else {
  await measure(Number(process.argv[2] ?? 300), Number(process.argv[3] ?? 6));
}

async function measure(perSecond, turns) {
  const folder = await mkdtemp(path.join(tmpdir(), 'refusals-'));
  await makePhotos(folder, 100);
  const photos = await readPhotos(folder);
  const server = await startServer({ CACHE_MB: '0', LOG_LEVEL: 'info' });
  const bare = fork(import.meta.filename);
  const [port] = await once(bare, 'message');
  const url = `${server.origin}/caption`;
  bare.send(url);
  await onceRefused(url, photos);
  await openLoop(url, photos, perSecond, SECONDS, HEADERS);

  console.log('| turn | ms for each refusal | ms for each request of the bare server |\n|---|---|---|');
  for (let turn = 1; turn <= turns; turn += 1) {
    const load = (to) => openLoop(to, photos, perSecond, SECONDS, HEADERS);
    const refusal = await millisecondsEach(server.pid, () => load(url), 503);
    const request = await millisecondsEach(bare.pid, () => load(`http://127.0.0.1:${port}`), 200);
    console.log(`| ${turn} | ${refusal.toFixed(2)} | ${request.toFixed(2)} |`);
  }
  bare.disconnect();
  console.log(`the server's exit code: ${await server.stop()}`);
  await rm(folder, { recursive: true });
}

async function millisecondsEach(pid, load, status) {
  const before = cpuSecondsOf(pid);
  const results = await load();
  const others = results.filter((result) => result.status !== status);
  if (others.length > 0) {
    throw new Error(`${others.length} requests were answered with ${others[0].status}.`);
  }
  return ((cpuSecondsOf(pid) - before) * 1e3) / results.length;
}

/** An upload that is never done and not too slow, from a process that has the time for it. */
function keepPlace(url) {
  const headers = { 'content-type': 'image/jpeg', 'content-length': UPLOAD_BYTES };
  const request = http.request(url, { method: 'POST', headers }).on('error', () => undefined);
  const write = () => request.write(Buffer.alloc(UPLOAD_BYTES_PER_SECOND));
  write();
  setInterval(write, 1_000);
}

async function onceRefused(url, photos) {
  let refused = false;
  while (!refused) {
    const [{ status }] = await openLoop(url, photos, 1, 1, HEADERS);
    refused = status === 503;
  }
}

function readAndDrop() {
  const server = http.createServer((request, response) => request.resume().on('end', () => response.end()));
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
}
