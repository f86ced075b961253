#!/usr/bin/env node
import { runCommand } from './command';

// `distillvlm <command>` as npm installs it; `npm run score -- <arguments>` gives the command's name itself.
void runCommand(process.argv.slice(2));
