#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { GARBAGE_FLAG, SettingsError } from '../config';
import { CANNOT_RUN, runCommand } from './command';

setFlagsFromString(GARBAGE_FLAG);

// `distillvlm <command>` as npm installs it; `npm run score -- <arguments>` gives the command's name itself.
runCommand(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof SettingsError)) {
    throw error;
  }
  process.stderr.write(`error: ${error.message}\n`);
  process.exitCode = CANNOT_RUN;
});
