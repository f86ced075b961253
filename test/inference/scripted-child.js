const { Buffer } = require('node:buffer');
const { readFileSync, readSync, writeFileSync } = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');

/**
 * Stands in for the compiled child.js. Its bundle is a file with the number of processes that die while they load, or
 * "hang" for one that does not come to an end with it.
 * Of a batch it does what the photos say: "die" ends the process, even while another batch is at work, "break" fails the
 * batch, "wait" holds it until one photo is cancelled, "pid" is captioned with the process's id, "hang" stops it in the
 * middle of a stage, "slow" is decoded photo by photo for four seconds, anything else is captioned with the names of all photos in the batch.
 */
const cancellations = new Map();
let turn = Promise.resolve();

process.on('disconnect', () => process.exit());
process.on('message', (message) => {
  if (message.type === 'load') {
    load(message.bundles[0].directory);
  } else if (message.type === 'run') {
    take(
      message.id,
      message.batch.photos.map(({ imageBytes }) => receivePhoto(imageBytes)),
    );
  } else {
    cancellations.get(message.id).cancel(message.photo);
  }
});

function load(bundle) {
  const text = readFileSync(bundle, 'utf8');
  if (text === 'hang') {
    writeFileSync(bundle, '0');
    return;
  }
  const deaths = Number(text);
  if (deaths > 0) {
    writeFileSync(bundle, String(deaths - 1));
    process.exit(1);
  }
  reply({ type: 'ready', msPerUnit: 1, device: { name: 'cpu' } });
}

/** A photo is a word here, and comes as one. */
function receivePhoto(bytes) {
  const photo = Buffer.alloc(bytes);
  readSync(4, photo);
  return photo.toString();
}

function take(id, photos) {
  if (photos.includes('die')) {
    process.exit(1);
  }
  let cancel;
  const cancelled = new Promise((resolve) => {
    cancel = resolve;
  });
  cancellations.set(id, { cancel });
  turn = turn.then(() => run(id, photos, cancelled));
}

async function run(id, photos, cancelled) {
  if (photos.includes('break')) {
    reply({ type: 'failed', id, reason: 'broken' });
    return;
  }
  if (photos.includes('hang')) {
    process.kill(process.pid, 'SIGSTOP');
  }
  for (let n = 0; photos.includes('slow') && n < 8; n += 1) {
    await sleep(500);
    reply({ type: 'decoded' });
  }
  const dropped = photos.includes('wait') ? await cancelled : await Promise.race([cancelled, undefined]);
  const caption = photos.includes('pid') ? String(process.pid) : photos.join(' ');
  const captions = [{ caption, score: 1, logProbability: 0 }];
  const outcomes = photos.map((_, n) => (n === dropped ? 'cancelled' : { result: { width: 1, height: 1, captions } }));
  reply({ type: 'outcomes', id, residentBytes: 1, outcomes });
}

function reply(message) {
  process.send(message, () => undefined);
}
