// The model without processes, queues and HTTP around it, for loops that others are measured by.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { Bundle } = require('../../dist/onnx/bundle.js');
const { Predictor } = require('../../dist/vision-language/predictor.js');

const NEVER = new AbortController().signal;
const OPTIONS = { numBeams: 5, numCaptions: 1, maxTokens: 20, topK: 5, regions: false, explain: false };

export const QUESTION = 'What is it?';

/** @returns for each route what turns a batch of compressed photos into results */
export async function loadBareModel(directory, threads) {
  const predictor = await Predictor.load(await Bundle.open(directory), {
    session: { threads, executionProviders: ['cpu'] },
    maxPixelsInDecoding: 100e6,
    cacheBytes: 0,
  });
  const requests = (photos) => photos.map((image) => ({ image, signal: NEVER, questions: [QUESTION] }));
  return {
    caption: (photos) => predictor.caption(requests(photos), OPTIONS),
    vqa: (photos) => predictor.answer(requests(photos), OPTIONS),
  };
}
