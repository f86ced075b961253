// Starts `npm start` with a bundle, asks for a caption and an answer, and ends it as a process manager would.
// usage: node .ci/ask-server.mjs <bundle> [<photo> <word that its caption must hold>]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

const LONGEST_MS = 300_000;

const bundle = path.resolve(process.argv[2]);
const [, , , photoFile, word = ''] = process.argv;
const server = spawn('npm', ['start'], {
  env: { ...process.env, MODEL_DIR: bundle, HOST: '127.0.0.1', PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = once(server, 'exit').then(([code]) => code);
// By itself a server whose processes die while they load goes on trying.
setTimeout(() => server.kill('SIGTERM'), LONGEST_MS).unref();

let exitCode = 1;
try {
  const url = `http://127.0.0.1:${await portOf(server)}`;
  const photo = photoFile ? await readFile(photoFile) : await drawnPhoto();
  await ask(`${url}/caption`, photo, [], ({ caption }) => caption?.includes(word) && caption);
  await ask(`${url}/vqa`, photo, ['what color is it?'], ({ answers }) => answers?.[0].answer);
  exitCode = 0;
} catch (error) {
  console.error(error);
} finally {
  server.kill('SIGTERM');
}
const code = await ended;
process.exit(code === 0 ? exitCode : 1);

function drawnPhoto() {
  return sharp({ create: { width: 320, height: 240, channels: 3, background: 'teal' } })
    .jpeg()
    .toBuffer();
}

/** Waits until the server has logged that it is ready, and returns where it listens. */
async function portOf({ stdout }) {
  let port;
  for await (const line of createInterface(stdout)) {
    const logged = line.startsWith('{') ? JSON.parse(line) : {};
    port ??= logged.port;
    if (logged.event === 'ready') {
      stdout.resume();
      return port;
    }
  }
  throw new Error('The server ended before it was ready');
}

async function ask(url, photo, questions, answerOf) {
  const form = new FormData();
  form.append('image', new Blob([photo]), 'photo.jpg');
  questions.forEach((question) => form.append('question', question));
  const response = await fetch(url, { method: 'POST', body: form, signal: AbortSignal.timeout(LONGEST_MS / 5) });
  const body = await response.json();
  const answer = answerOf(body);
  if (!response.ok || !answer) {
    throw new Error(`${url} answered ${response.status}: ${JSON.stringify(body)}`);
  }
  console.log(`${url}: ${answer}`);
}
