// A million rows through everything but the model: how soon a run begins and whether its memory stays flat.
// usage: npm run build && node --expose-gc bench/score-million.mjs [<rows>]
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

const require = createRequire(import.meta.url);
const { openInput } = require('../dist/batch/inputs/open-input.js');
const { ObjectStore } = require('../dist/batch/inputs/s3.js');
const { limited, survey } = require('../dist/batch/inputs/survey.js');
const { lockOutput } = require('../dist/batch/lock.js');
const { scoreCollection } = require('../dist/batch/score-collection.js');

const rows = Number(process.argv[2] ?? 1e6);
const folder = await mkdtemp(path.join(tmpdir(), 'million-'));
const list = path.join(folder, 'rows.jsonl');
const file = createWriteStream(list);
for (let row = 0; row < rows; row += 1) {
  if (!file.write(`{"image":"photos/${row % 7}.jpg","id":${row}}\n`)) {
    await new Promise((resolve) => file.once('drain', resolve));
  }
}
await new Promise((resolve) => file.end(resolve));

const startMs = performance.now();
const store = new ObjectStore({ pathStyle: false, maxAttempts: 1 });
const input = await openInput([list], { spool: path.join(folder, 'spool'), store });
const { items, sha256 } = await survey(limited(input));
let firstMs;
let batches = 0;
const memory = [];
const stub = {
  score: async ({ items: batch }) => {
    firstMs ??= performance.now() - startMs;
    batches += 1;
    if (batches % Math.ceil(rows / 8 / 10) === 0) {
      globalThis.gc?.();
      const { heapUsed, rss } = process.memoryUsage();
      memory.push(`${Math.round(heapUsed / 1e6)} / ${Math.round(rss / 1e6)}`);
    }
    return batch.map(() => ({ caption: 'a dog runs on the beach', score: 0.5, log_probability: -4.2, ms: 3 }));
  },
  close: async () => undefined,
};
const output = path.join(folder, 'out.jsonl');
const lock = await lockOutput(output);
const collection = {
  output,
  format: 'jsonl',
  fields: ['caption', 'score'],
  count: items,
  items: () => limited(input),
  fingerprint: { input: sha256 },
  restart: false,
  showProgress: false,
  options: { batchSize: 8, window: 4, shard: { index: 0, count: 1 }, unordered: false, retryFailed: false },
  createScorer: async () => stub,
};
const { seconds, ...summary } = await scoreCollection(collection, lock);
await lock.release();
console.log(`${summary.scored} rows in ${seconds} s, the first batch after ${(firstMs / 1e3).toFixed(1)} s`);
console.log(`heap / resident MB at each tenth: ${memory.join(', ')}`);
await rm(folder, { recursive: true });
