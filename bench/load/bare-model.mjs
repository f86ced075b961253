// The model without processes, queues and HTTP around it, for loops that others are measured by.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { Bundle } = require('../../dist/onnx/bundle.js');
const { decodePhoto } = require('../../dist/image/decode.js');
const { Predictor } = require('../../dist/vision-language/predictor.js');

const NEVER = new AbortController().signal;
const OPTIONS = { numBeams: 5, numCaptions: 1, maxTokens: 20, topK: 5, regions: false, explain: false };

export const QUESTION = 'What is it?';

/** @returns `routes`: for each route what turns a batch of compressed photos into results; `decode`: of one photo */
export async function loadBareModel(directory, threads) {
  const bundle = await Bundle.open(directory);
  const predictor = await Predictor.load(bundle, {
    session: { threads, executionProviders: ['cpu'] },
    maxPixelsInDecoding: 100e6,
    cacheBytes: 0,
  });
  const requests = (photos) => photos.map((image) => ({ image, signal: NEVER, questions: [QUESTION] }));
  return {
    routes: {
      caption: (photos) => predictor.caption(requests(photos), OPTIONS),
      vqa: (photos) => predictor.answer(requests(photos), OPTIONS),
    },
    decode: (photo) => decodePhoto(photo, bundle.manifest.image),
  };
}
