// The model without a server: CPU seconds of a caption, and of an answer, decoding included, in batches of 8.
// Run by bench/load.mjs, which prints its figures beside the server's.
import { loadBareModel } from './bare-model.mjs';
import { readPhotos } from './photos.mjs';

const [directory, folder] = process.argv.slice(2);
const [threads, batch, seconds] = process.argv.slice(4).map(Number);

const photos = await readPhotos(folder);
for (const [route, run] of Object.entries(await loadBareModel(directory, threads))) {
  await run(take(0));
  const before = process.cpuUsage();
  const startMs = performance.now();
  let done = 0;
  while (performance.now() - startMs < seconds * 1e3) {
    done += (await run(take(done))).length;
  }
  const { user, system } = process.cpuUsage(before);
  console.log(
    JSON.stringify({
      route,
      cpuSeconds: (user + system) / 1e6 / done,
      perSecond: (done * 1e3) / (performance.now() - startMs),
    }),
  );
}

function take(first) {
  return Array.from({ length: batch }, (_, index) => photos[(first + index) % photos.length]);
}
