import { Command, type CommanderError } from 'commander';
import { readSettings } from '../config';
import { messageOf } from '../errors';
import { merge } from './merge';
import { type Options, withRunOptions } from './options';
import { score } from './score-command';
import type { Summary } from './summary';
import { withWorkOptions, work, type WorkOptions } from './work-command';

const SOME_PHOTO_FAILED = 1;
export const CANNOT_RUN = 2;

/** The command `score`; its action sets the exit code: 1 where items failed, 2 where the run could not be. */
export function scoreCommand(): Command {
  const settings = readSettings();
  const command = withRunOptions(new Command('score'), settings)
    .description('Captions every photo of a collection, or answers questions about it.')
    .enablePositionalOptions()
    .exitOverride(endWith)
    .action((inputs: string[], given: Options) => {
      requireOut(command, given);
      return report(command, given, () => score(inputs, given, settings));
    });
  const merging = new Command('merge')
    .exitOverride(endWith)
    .description('Puts the outputs of all shards together: the same bytes as of a run without shards.')
    .argument('<outputs...>', 'of the shards, with their journals beside them')
    .requiredOption('--out <file>', 'results of the whole')
    .option('--json', 'a summary on standard output')
    .action((outputs: string[], given: Pick<Options, 'out' | 'json'>) =>
      report(merging, given, () => merge(outputs, given.out)),
    );
  return command.addCommand(merging);
}

/** The command `work`; it ends by a signal. */
export function workCommand(): Command {
  const settings = readSettings();
  const command = withWorkOptions(new Command('work'), settings)
    .description('Scores batches of the runs at a queue, beside workers on other machines.')
    .exitOverride(endWith)
    .action((given: WorkOptions) => orFail(command, work(given, settings)));
  return command;
}

/** Runs `distillvlm <argv>`. */
export async function runCommand(argv: readonly string[]): Promise<void> {
  await new Command('distillvlm')
    .description('Describes photos and answers questions about them.')
    .enablePositionalOptions()
    .addCommand(scoreCommand())
    .addCommand(workCommand())
    .exitOverride(endWith)
    .parseAsync(argv, { from: 'user' });
}

function requireOut(command: Command, { out }: Partial<Options>): void {
  if (out === undefined) {
    command.error("error: required option '--out <file>' not specified", { exitCode: CANNOT_RUN });
  }
}

/** A command line that cannot be read is a run that cannot be. */
function endWith({ exitCode }: CommanderError): never {
  process.exit(exitCode === 0 ? 0 : CANNOT_RUN);
}

async function report(command: Command, { json }: Pick<Options, 'json'>, run: () => Promise<Summary>): Promise<void> {
  const summary = await orFail(command, run());
  if (json) {
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  }
  process.exitCode = summary.failed > 0 ? SOME_PHOTO_FAILED : 0;
}

function orFail<Result>(command: Command, running: Promise<Result>): Promise<Result> {
  return running.catch((error: unknown) => command.error(`error: ${messageOf(error)}`, { exitCode: CANNOT_RUN }));
}
