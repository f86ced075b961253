// The model without a server: CPU seconds of a caption, and of an answer, decoding included, in batches of 8; and what
// decoding takes of each photo. Run by bench/load.mjs, which prints its figures beside the server's.
import { loadBareModel } from './bare-model.mjs';
import { readPhotos } from './photos.mjs';

const [directory, folder] = process.argv.slice(2);
const [threads, batch, seconds] = process.argv.slice(4).map(Number);

const photos = await readPhotos(folder);
const { routes, decode } = await loadBareModel(directory, threads);
const decodeSeconds = [];
for (const photo of photos) {
  decodeSeconds.push(await cpuSecondsOf(() => decode(photo)));
}
const measured = { decodeSeconds };
for (const [route, run] of Object.entries(routes)) {
  await run(take(0));
  const startMs = performance.now();
  let done = 0;
  const cpuSeconds = await cpuSecondsOf(async () => {
    // All photos equally often: a few of them cost as much as all others.
    while (performance.now() - startMs < seconds * 1e3 || done % photos.length > 0) {
      done += (await run(take(done))).length;
    }
  });
  measured[route] = { cpuSeconds: cpuSeconds / done, perSecond: (done * 1e3) / (performance.now() - startMs) };
}
console.log(JSON.stringify(measured));

async function cpuSecondsOf(work) {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function take(first) {
  return Array.from({ length: batch }, (_, index) => photos[(first + index) % photos.length]);
}
