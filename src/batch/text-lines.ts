import { createReadStream } from 'node:fs';

/** What stands between line breaks in a file, with the byte at which it begins; what follows the last break is given too. */
export interface Line {
  readonly text: string;
  /** Of its first byte in the file. */
  readonly offset: number;
  /** With its line break. */
  readonly bytes: number;
  /** Whether a line break ends it. */
  readonly whole: boolean;
}

/** What some editors begin a file with; no part of its text. */
const BYTE_ORDER_MARK = '\uFEFF';

export function withoutMark(text: string): string {
  return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text;
}

/**
 * Reads a file line by line, without a byte order mark. Not `readline`, which also breaks at U+2028 in the middle of a
 * string.
 * @param separator one byte
 */
export async function* readLines(file: string, separator = '\n'): AsyncGenerator<Line> {
  const breakByte = separator.charCodeAt(0);
  let rest: Buffer[] = [];
  let offset = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let at = chunk.indexOf(breakByte); at >= 0; at = chunk.indexOf(breakByte, from)) {
      const line = rest.length === 0 ? chunk.subarray(from, at) : Buffer.concat([...rest, chunk.subarray(from, at)]);
      rest = [];
      yield { text: textOf(line, offset), offset, bytes: line.length + 1, whole: true };
      offset += line.length + 1;
      from = at + 1;
    }
    if (from < chunk.length) {
      rest.push(chunk.subarray(from));
    }
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) {
    yield { text: textOf(last, offset), offset, bytes: last.length, whole: false };
  }
}

function textOf(line: Buffer, offset: number): string {
  const text = line.toString('utf8');
  return offset === 0 ? withoutMark(text) : text;
}
