import type { Readable } from 'node:stream';

/** As `pipe`, but that an error of the source ends the reading too: by itself it would be nobody's, and end the process. */
export function pipeWithErrors<Parser extends NodeJS.WritableStream & { destroy(error: Error): unknown }>(
  content: Readable,
  parser: Parser,
): Parser {
  content.on('error', (error) => {
    parser.destroy(error);
  });
  return content.pipe(parser);
}
