/**
 * A pattern's names, as WebDataset writes shards: `{a,b}` is each of its choices, `{08..10}` each number, with the zeros
 * of the first.
 */
export function expandBraces(pattern: string): string[] {
  const [, before = '', braces, after = ''] = /^(.*?)\{([^{}]*)\}(.*)$/s.exec(pattern) ?? [];
  return braces === undefined
    ? [pattern]
    : choicesOf(braces).flatMap((choice) => expandBraces(`${before}${choice}${after}`));
}

function choicesOf(braces: string): string[] {
  const [, first, last] = /^(\d+)\.\.(\d+)$/.exec(braces) ?? [];
  if (first === undefined || last === undefined) {
    return braces.split(',');
  }
  const count = Math.max(0, Number(last) - Number(first) + 1);
  return Array.from({ length: count }, (_, n) => String(Number(first) + n).padStart(first.length, '0'));
}
