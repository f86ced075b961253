import { readFile } from 'node:fs/promises';
import { readSettings } from '../config';
import { hasCudaLibrary } from '../cores';
import { messageOf } from '../errors';
import { BLANK_PHOTO } from '../inference/warm-up';
import { createLogger } from '../logger';
import { cores, examineHost, type Finding } from './host';
import { devicesToTry, examineBundle, tryDevice } from './trial';

/** usage: npm run doctor [-- <photo>] */
async function main(): Promise<void> {
  const settings = readSettings();
  const [, , photo] = process.argv;
  const image = photo === undefined ? BLANK_PHOTO : await readFile(photo);
  const logger = createLogger('silent');
  let faults = 0;
  const report = ({ name, value, isFault = false }: Finding): void => {
    faults += isFault ? 1 : 0;
    process.stdout.write(`${isFault ? 'FAULT' : '     '} ${name}: ${value}\n`);
  };
  for (const finding of await examineHost()) {
    report(finding);
  }
  report(cores(settings));
  for (const folder of [settings.modelDir, ...settings.moreModelDirs]) {
    report(await examineBundle(folder));
  }
  // The captions are to be the same on each.
  for (const device of devicesToTry(settings.device, hasCudaLibrary())) {
    report(await tryDevice(device, image, settings, logger));
  }
  process.stdout.write(faults === 0 ? 'The server can start.\n' : `${faults} faults keep the server from starting.\n`);
  process.exitCode = faults === 0 ? 0 : 1;
}

main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exit(1);
});
