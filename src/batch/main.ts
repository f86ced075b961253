#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { GARBAGE_FLAG } from '../config';
import { runCommand } from './command';

setFlagsFromString(GARBAGE_FLAG);

// `distillvlm <command>` as npm installs it; `npm run score -- <arguments>` gives the command's name itself.
void runCommand(process.argv.slice(2));
