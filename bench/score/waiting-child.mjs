// A process for inference whose graphs also take WAIT_MS in which no core works, as on a GPU: what a batch that is
// decoded ahead is worth there can be seen on a machine without one. Run by bench/score-ahead.mjs.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { InferenceSession } = require('onnxruntime-node');

const ms = Number(process.env.WAIT_MS);
const { run } = InferenceSession.prototype;
InferenceSession.prototype.run = async function (...given) {
  const results = await run.apply(this, given);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  return results;
};
require('../../dist/inference/child.js');
