import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { closest } from 'fastest-levenshtein';
import { parse } from 'yaml';
import { SettingsError } from './setting-kinds';

/** What was given for a setting, and the name under which it was. */
export interface Given {
  readonly name: string;
  readonly text: string;
}

/** Looks a setting up by its variable's name. */
export type Source = (variable: string) => Given | undefined;

/** `MAX_QUEUE=100`; unset and empty variables say nothing. */
export function fromEnvironment(environment: NodeJS.ProcessEnv): Source {
  return (variable) => given(variable, environment[variable]);
}

/**
 * `--max-queue 100` or `--max-queue=100`.
 * @throws SettingsError for a flag that is none of the variables'
 */
export function fromFlags(flags: readonly string[], variables: readonly string[]): Source {
  const { tokens } = parseArgs({
    args: [...flags],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: optionsOf(variables),
  });
  const texts = new Map<string, string>();
  for (const token of tokens) {
    const name = token.kind === 'option' ? token.rawName : flags[token.index];
    if (token.kind !== 'option' || !variables.includes(variableOf(token.name))) {
      throw unknown(`the flag ${name}`, name ?? '', variables.map(flagOf));
    }
    if (token.value === undefined) {
      throw new SettingsError(`${token.rawName} is given without a value.`);
    }
    texts.set(variableOf(token.name), token.value);
  }
  return (variable) => given(flagOf(variable), texts.get(variable));
}

/**
 * `max_queue: 100` in a file of YAML or JSON.
 * @throws SettingsError where it cannot be read or holds what no setting is called
 */
export function fromFile(file: string, variables: readonly string[]): Source {
  const content = readFile(file);
  const names = variables.map((variable) => variable.toLowerCase());
  for (const name of Object.keys(content)) {
    if (!names.includes(name)) {
      throw unknown(`"${name}" in ${file}`, name, names);
    }
  }
  return (variable) => {
    const text = textOf(content[variable.toLowerCase()]);
    return given(`${variable.toLowerCase()} in ${file}`, text);
  };
}

function readFile(file: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new SettingsError(`The settings in ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new SettingsError(`${file} must hold settings by name, such as "port: 3000".`);
  }
  return content as Record<string, unknown>;
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) {
    return '';
  }
  return Array.isArray(value) ? value.map(textOf).join(',') : typeof value === 'string' ? value : JSON.stringify(value);
}

function given(name: string, text: string | undefined): Given | undefined {
  const trimmed = text?.trim();
  return trimmed ? { name, text: trimmed } : undefined;
}

function optionsOf(variables: readonly string[]): Record<string, { type: 'string' }> {
  return Object.fromEntries(variables.map((variable) => [flagOf(variable).slice(2), { type: 'string' }]));
}

export function flagOf(variable: string): string {
  return `--${variable.toLowerCase().replaceAll('_', '-')}`;
}

function variableOf(option: string): string {
  return option.toUpperCase().replaceAll('-', '_');
}

function unknown(what: string, name: string, known: readonly string[]): SettingsError {
  return new SettingsError(`There is no setting for ${what}; the nearest is ${closest(name, known)}.`);
}
