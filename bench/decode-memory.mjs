// What decoding the largest photo takes in memory, by format: node bench/decode-memory.mjs (after npm run build).
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { decodePhoto } from '../dist/image/decode.js';

const SIDE_PX = 7_000;
const SIZE = { height: 320, width: 320 };
const FORMATS = {
  jpeg: (image) => image.jpeg(),
  'jpeg, progressive': (image) => image.jpeg({ progressive: true }),
  png: (image) => image.png(),
  'png, 16 bits, interlaced': (image) => image.toColourspace('rgb16').png({ progressive: true }),
  gif: (image) => image.gif({ effort: 1 }),
  webp: (image) => image.webp({ effort: 0 }),
  'webp, lossless': (image) => image.webp({ lossless: true, effort: 0 }),
  avif: (image) => image.avif({ effort: 0 }),
};

function encode(format) {
  const create = { width: SIDE_PX, height: SIDE_PX, channels: 3, background: 'teal' };
  return FORMATS[format](sharp({ create })).toBuffer();
}

function peakBytes() {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
}

/** In a process of its own, whose peak is that of this photo. */
function measure(format) {
  return new Promise((resolve, reject) => {
    const child = fork(import.meta.filename, [format], { serialization: 'advanced' });
    child.once('message', resolve).once('exit', reject);
    encode(format).then((photo) => child.send(photo), reject);
  });
}

if (process.argv[2] === undefined) {
  console.log('| format | MB | bytes a pixel |\n|---|---|---|');
  for (const format of Object.keys(FORMATS)) {
    const bytes = await measure(format);
    console.log(`| ${format} | ${Math.round(bytes / 1e6)} | ${(bytes / SIDE_PX ** 2).toFixed(1)} |`);
  }
} else {
  process.once('message', async (photo) => {
    const beforeBytes = peakBytes();
    await decodePhoto(photo, SIZE);
    process.send(peakBytes() - beforeBytes);
    process.disconnect();
  });
}
