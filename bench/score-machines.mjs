// Whether processors of other kinds say the same of a photo. Photos are captioned and asked about on this machine and on
// emulated processors without its newer instructions, for which onnxruntime and sharp take other code; fails where a
// caption or an answer differs, or a score by more than 1e-4. An emulated photo takes half a minute.
// usage: npm run build && node bench/score-machines.mjs [<photos> [<folder of JPEGs>]]; needs Debian's qemu-user (another
// place of it: QEMU=<path of qemu-x86_64>); MODEL_DIR as for the server
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { bundle, collectionOf } from './score/processes.mjs';

const QEMU = process.env.QEMU ?? 'qemu-x86_64';
const EMULATED = { Haswell: 'AVX2, of 2013', Nehalem: 'SSE4.2, of 2008' };
const BATCH = 8;
const TOLERANCE = 1e-4;

const [count = 24, given] = process.argv.slice(2);
const work = await mkdtemp(path.join(tmpdir(), 'score-machines-'));
const { folder, photos } = await collectionOf(work, Number(count), given);
const here = await resultsOf([]);

console.log(`${photos} photos in batches of ${BATCH}, beside ${cpus()[0].model.trim()}\n`);
console.log('| emulated | captions that differ | answers that differ | largest difference of a score |');
console.log('|---|---|---|---|');
for (const [name, what] of Object.entries(EMULATED)) {
  const there = await resultsOf([QEMU, '-cpu', name]);
  const [captions, answers] = ['caption', 'vqa'].map((route) => differing(here[route], there[route]));
  const largest = Math.max(...['caption', 'vqa'].flatMap((route) => gaps(here[route], there[route])));
  console.log(`| ${name} (${what}) | ${captions} | ${answers} | ${largest.toExponential(1)} |`);
  if (captions > 0 || answers > 0 || largest > TOLERANCE) {
    process.exitCode = 1;
  }
}
await rm(work, { recursive: true });

/** @returns for each route and photo the sentence, or the answer, that is given first, and its score */
async function resultsOf(emulator) {
  const script = [path.join(import.meta.dirname, 'score', 'results.mjs'), bundle, folder, BATCH, photos];
  const [command, ...args] = [...emulator, process.execPath, ...script.map(String)];
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 64e6 });
  return JSON.parse(stdout);
}

function differing(some, others) {
  return some.filter(({ text }, index) => text !== others[index].text).length;
}

function gaps(some, others) {
  return some.map(({ score }, index) => Math.abs(score - others[index].score));
}
