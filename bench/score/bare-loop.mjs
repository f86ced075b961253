// What a plain script would do: reads each batch of photos, decodes them and runs the graphs. One of several processes
// that take the batches in turns. Run by bench/score-cpu.mjs.
import { loadBareModel } from '../load/bare-model.mjs';
import { readInBatches } from '../load/photos.mjs';

const [directory, folder, route] = process.argv.slice(2);
const [threads, size, limit, index, count] = process.argv.slice(5).map(Number);

const run = (await loadBareModel(directory, threads)).routes[route];
for await (const photos of readInBatches(folder, size, limit, index, count)) {
  await run(photos);
}
