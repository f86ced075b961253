// What a plain script would do: reads each batch of photos, decodes them and runs the graphs. One of several processes
// that take the batches in turns. Run by bench/score-cpu.mjs.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { loadBareModel } from '../load/bare-model.mjs';

const [directory, folder, route] = process.argv.slice(2);
const [threads, size, limit, index, count] = process.argv.slice(5).map(Number);

const run = (await loadBareModel(directory, threads)).routes[route];
const names = (await readdir(folder)).sort().slice(0, limit);
for (let first = index * size; first < names.length; first += count * size) {
  const files = names.slice(first, first + size).map((name) => readFile(path.join(folder, name)));
  await run(await Promise.all(files));
}
