import { createReadStream } from 'node:fs';
import { parse } from 'csv-parse';
import { RunError } from '../errors';
import type { Item } from '../item';
import { readLines } from '../text-lines';
import { pipeWithErrors } from './pipe-with-errors';

/** A list of paths, one in each line, or with `\0` as the separator for names that hold line breaks. */
export async function* readList(file: string, separator: '\n' | '\0'): AsyncGenerator<Item> {
  for await (const { text } of readLines(file, separator)) {
    const image = separator === '\n' ? text.replace(/\r$/, '') : text;
    if (image.trim() !== '') {
      yield { image };
    }
  }
}

/** JSON lines with `image` and, where wanted, `question`, `id`, `references`, `reference_answers`, `answer_type`. */
export async function* readJsonLines(file: string): AsyncGenerator<Item> {
  let number = 0;
  for await (const { text } of readLines(file)) {
    number += 1;
    if (text.trim() !== '') {
      const at = `Line ${number} of ${file}`;
      let row: unknown;
      try {
        row = JSON.parse(text);
      } catch (cause) {
        throw new RunError(`${at} is not JSON: ${(cause as Error).message}.`, { cause });
      }
      yield toItem(row, at);
    }
  }
}

/** A CSV file whose first line names the columns: `image` and, where wanted, `question`, `id`. */
export async function* readCsv(file: string): AsyncGenerator<Item> {
  const content = createReadStream(file);
  const rows = pipeWithErrors(content, parse({ bom: true, columns: true, skip_empty_lines: true }));
  let number = 0;
  try {
    for await (const row of rows as AsyncIterable<Record<string, string>>) {
      number += 1;
      const filled = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== ''));
      yield toItem(filled, `Row ${number} of ${file}`);
    }
  } catch (error) {
    throw error instanceof RunError ? error : new RunError(`${file}: ${(error as Error).message}.`, { cause: error });
  } finally {
    content.destroy();
  }
}

function toItem(row: unknown, at: string): Item {
  const { image, question, id, references, reference_answers, answer_type } = (row ?? {}) as Record<string, unknown>;
  if (typeof image !== 'string' || image === '') {
    throw new RunError(`${at}: expected "image" with the path of a photo.`);
  }
  return {
    image,
    ...(question !== undefined && { question: requireText(question, 'question', at) }),
    ...(id !== undefined && { id: typeof id === 'number' ? id : requireText(id, 'id', at) }),
    ...(references !== undefined && { references: requireTexts(references, 'references', at) }),
    ...(reference_answers !== undefined && {
      reference_answers: requireTexts(reference_answers, 'reference_answers', at),
    }),
    ...(answer_type !== undefined && { answer_type: requireText(answer_type, 'answer_type', at) }),
  };
}

function requireText(value: unknown, name: string, at: string): string {
  if (typeof value !== 'string') {
    throw new RunError(`${at}: expected "${name}" to be a text.`);
  }
  return value;
}

function requireTexts(value: unknown, name: string, at: string): string[] {
  if (!Array.isArray(value)) {
    throw new RunError(`${at}: expected "${name}" to be a list of texts.`);
  }
  return value.map((text) => requireText(text, name, at));
}
