// Captions the photos of a folder, asks about each, and prints for both what comes first and its score, as JSON. Run by
// bench/score-machines.mjs.
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { loadBareModel } from '../load/bare-model.mjs';

const [directory, folder] = process.argv.slice(2);
const [size, limit] = process.argv.slice(4).map(Number);

const { routes } = await loadBareModel(directory, 1);
const names = (await readdir(folder)).sort().slice(0, limit);
const said = { caption: [], vqa: [] };
for (let first = 0; first < names.length; first += size) {
  const files = names.slice(first, first + size).map((name) => readFile(path.join(folder, name)));
  const photos = await Promise.all(files);
  for (const { captions } of await routes.caption(photos)) {
    said.caption.push({ text: captions[0].caption, score: captions[0].score });
  }
  for (const { results } of await routes.vqa(photos)) {
    said.vqa.push({ text: results[0].answers[0].answer, score: results[0].answers[0].score });
  }
}
console.log(JSON.stringify(said));
