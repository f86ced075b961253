// The model without a server: CPU seconds of a caption, and of an answer, decoding included, in batches of 8.
// Run by bench/load.mjs, which prints its figures beside the server's.
import { createRequire } from 'node:module';
import { readPhotos } from './photos.mjs';

const require = createRequire(import.meta.url);
const { Bundle } = require('../../dist/onnx/bundle.js');
const { Predictor } = require('../../dist/vision-language/predictor.js');

const [directory, folder] = process.argv.slice(2);
const [threads, batch, seconds] = process.argv.slice(4).map(Number);
const NEVER = new AbortController().signal;
const OPTIONS = { numBeams: 5, numCaptions: 1, maxTokens: 20, topK: 5, regions: false, explain: false };

const photos = await readPhotos(folder);
const predictor = await Predictor.load(await Bundle.open(directory), {
  session: { threads, executionProviders: ['cpu'] },
  maxPixelsInDecoding: 100e6,
  cacheBytes: 0,
});

const routes = {
  caption: (requests) => predictor.caption(requests, OPTIONS),
  vqa: (requests) =>
    predictor.answer(
      requests.map((request) => ({ ...request, questions: ['What is it?'] })),
      OPTIONS,
    ),
};
for (const [route, run] of Object.entries(routes)) {
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
  return Array.from({ length: batch }, (_, index) => ({
    image: photos[(first + index) % photos.length],
    signal: NEVER,
  }));
}
