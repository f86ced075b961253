// Holds the tokens of `score --report` against those of Stanford's PTBTokenizer, as pycocoevalcap runs it, on any
// captions: every distinct sentence of COCO's captions, VQA's questions (JSON) or lines of text. Prints what differs.
// usage: npm run build && bash training/install.sh && node bench/score-tokens.mjs <file>...
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const { tokenize } = createRequire(import.meta.url)('../dist/batch/evaluation/ptb-tokenizer.js');
const TRAINING = path.join(import.meta.dirname, '..', 'training');
const STANFORD = `
import json, sys
from distillvlm.evaluation.captions import tokenize
sentences = json.load(sys.stdin)
json.dump([line.split(" ") if line else [] for line in tokenize({"": sentences})[""]], sys.stdout)
`;

const sentences = [...new Set(process.argv.slice(2).flatMap(sentencesOf))];
const { status, stdout } = spawnSync(path.join(TRAINING, '.venv/bin/python'), ['-c', STANFORD], {
  cwd: TRAINING,
  input: JSON.stringify(sentences),
  stdio: ['pipe', 'pipe', 'inherit'],
  maxBuffer: 2 ** 30,
});
if (status !== 0) {
  throw new Error(`Python ended with ${status}`);
}
const differing = JSON.parse(stdout).flatMap((expected, n) => {
  const own = tokenize(sentences[n]);
  // Tokens such as telephone numbers hold spaces that do not break.
  return own.join(' ') === expected.join(' ') ? [] : [{ sentence: sentences[n], expected, own }];
});
differing.forEach((each) => console.log(JSON.stringify(each)));
console.log(`${differing.length} of ${sentences.length} sentences have other tokens`);

function sentencesOf(file) {
  const text = readFileSync(file, 'utf8');
  if (!file.endsWith('.json')) {
    return text.split('\n').filter(Boolean);
  }
  const { annotations = [], questions = [] } = JSON.parse(text);
  return [...annotations.flatMap(({ caption }) => caption ?? []), ...questions.map(({ question }) => question)];
}
