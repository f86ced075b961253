/** Settings that cannot be meant; the message says which one, what it holds and what it may hold. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

/** One setting: its name as an environment variable, from which those of its flag and its key in a file follow. */
export interface Setting<T> {
  readonly variable: string;
  readonly fallback: T;
  readonly parse: (text: string) => T | undefined;
  readonly expected: string;
  /** What of a text may be shown; by default all. */
  readonly show?: (text: string) => string;
  /** Not for processes that have no use for it. */
  readonly secret?: true;
}

export function text(variable: string, fallback: string): Setting<string> {
  return { variable, fallback, parse: (given) => given, expected: 'a text' };
}

const SECRET = { show: (given: string): string => (given === '' ? '' : '***'), secret: true } as const;

/** A text that no log shows. */
export function secret(variable: string): Setting<string> {
  return { ...text(variable, ''), ...SECRET };
}

/** Names with values that no log shows, as OpenTelemetry has them: percent-encoded. None by default. */
export function secretPairs(variable: string): Setting<readonly (readonly [name: string, value: string])[]> {
  return {
    variable,
    fallback: [],
    parse: (given) => {
      const pairs = given.split(',').map(pairOf);
      return pairs.includes(undefined) ? undefined : pairs.filter((pair) => pair !== undefined);
    },
    expected: 'name=value, separated by commas, with %25 for a percent sign',
    ...SECRET,
  };
}

function pairOf(text: string): readonly [string, string] | undefined {
  const [, name, value] = /^\s*([^\s=]+)\s*=(.*)$/.exec(text) ?? [];
  try {
    return name === undefined || value === undefined ? undefined : [name, decodeURIComponent(value.trim())];
  } catch {
    return undefined;
  }
}

/**
 * An address of http or https, secret since a name and password may stand in it; none by default. It is shown without what
 * stands before the last @, since a password may hold what else ends one.
 */
export function address(variable: string): Setting<string> {
  return {
    variable,
    fallback: '',
    parse: (given) => (/^https?:\/\//i.test(given) && URL.canParse(given) ? given : undefined),
    expected: 'an address like http://localhost:4318',
    show: (given) => given.replace(/^(\w+:\/\/)?.*@/s, '$1***@'),
    secret: true,
  };
}

/** Texts separated by commas; none by default. */
export function list(variable: string): Setting<readonly string[]> {
  return {
    variable,
    fallback: [],
    parse: (given) =>
      given
        .split(',')
        .map((entry) => entry.trim())
        .filter(Boolean),
    expected: 'texts separated by commas',
  };
}

export function integer(variable: string, fallback: number, least: number, most: number): Setting<number> {
  return {
    variable,
    fallback,
    parse: (given) => {
      const value = Number(given);
      return /^\d+$/.test(given) && value >= least && value <= most ? value : undefined;
    },
    expected: `a whole number from ${least} to ${most}`,
  };
}

export function boolean(variable: string, fallback: boolean): Setting<boolean> {
  return {
    variable,
    fallback,
    parse: (given) => (given === 'true' ? true : given === 'false' ? false : undefined),
    expected: 'true or false',
  };
}

export function oneOf<const T extends string>(variable: string, fallback: T, values: readonly T[]): Setting<T> {
  return {
    variable,
    fallback,
    parse: (given) => values.find((value) => value === given),
    expected: `one of ${values.join(', ')}`,
  };
}

export function matching(variable: string, fallback: string, pattern: RegExp, expected: string): Setting<string> {
  return { variable, fallback, parse: (given) => (pattern.test(given) ? given : undefined), expected };
}
