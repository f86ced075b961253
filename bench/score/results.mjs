// Captions the photos of a folder, asks about each, and prints for both what comes first and its score, as JSON. Run by
// bench/score-machines.mjs.
import { loadBareModel } from '../load/bare-model.mjs';
import { readInBatches } from '../load/photos.mjs';

const [directory, folder] = process.argv.slice(2);
const [size, limit] = process.argv.slice(4).map(Number);

const { routes } = await loadBareModel(directory, 1);
const said = { caption: [], vqa: [] };
for await (const photos of readInBatches(folder, size, limit)) {
  for (const { captions } of await routes.caption(photos)) {
    said.caption.push({ text: captions[0].caption, score: captions[0].score });
  }
  for (const { results } of await routes.vqa(photos)) {
    said.vqa.push({ text: results[0].answers[0].answer, score: results[0].answers[0].score });
  }
}
console.log(JSON.stringify(said));
