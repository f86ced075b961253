import { stringify } from 'csv-stringify/sync';
import type { Row } from '../item';

/** How rows become a file. */
export interface Format {
  readonly head: string;
  /** @returns undefined for a row that the format has no place for */
  readonly format: (row: Row) => string | undefined;
  /** Between one row and the next. */
  readonly separator: string;
  readonly tail: string;
}

export const OUTPUT_FORMATS = ['jsonl', 'csv', 'coco', 'vqa'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

export const FIELDS = ['caption', 'score', 'log_probability', 'alternatives', 'regions', 'size', 'timings'] as const;
export type Field = (typeof FIELDS)[number];
export const DEFAULT_FIELDS: readonly Field[] = ['caption', 'score', 'log_probability'];

/** Formats whose rows are told apart by their ids alone. */
export function needsIds(format: OutputFormat): boolean {
  return format === 'coco' || format === 'vqa';
}

export function formatNamed(name: OutputFormat, fields: readonly Field[]): Format {
  switch (name) {
    case 'jsonl':
      return lines((row) => (row.skipped ? undefined : JSON.stringify(pick(row, fields))));
    case 'csv':
      return csv(fields);
    case 'coco':
      return jsonArray(({ id, caption }) => caption !== undefined && { image_id: id, caption });
    case 'vqa':
      return jsonArray(({ id, answers }) => answers?.[0] && { question_id: id, answer: answers[0].answer });
  }
}

/** The broken ones alone, each with the reason. */
export const ERRORS_FORMAT = lines(({ image, id, question, problem }) =>
  problem === undefined ? undefined : JSON.stringify({ image, id, question, problem }),
);

function lines(format: (row: Row) => string | undefined): Format {
  return {
    head: '',
    format: (row) => {
      const line = format(row);
      return line === undefined ? undefined : `${line}\n`;
    },
    separator: '',
    tail: '',
  };
}

function jsonArray(toEntry: (row: Row) => object | undefined | false): Format {
  return {
    head: '[\n',
    format: (row) => {
      const entry = toEntry(row);
      return entry ? JSON.stringify(entry) : undefined;
    },
    separator: ',\n',
    tail: '\n]\n',
  };
}

/** Fields that are undefined are none in JSON. */
function pick(row: Row, fields: readonly Field[]): object {
  const has = (field: Field): boolean => fields.includes(field);
  const { image, id, question, answers, problem } = row;
  return {
    image,
    id,
    question,
    caption: has('caption') ? row.caption : undefined,
    score: has('score') ? row.score : undefined,
    log_probability: has('log_probability') ? row.log_probability : undefined,
    alternatives: has('alternatives') ? row.alternatives : undefined,
    answers,
    width: has('size') ? row.width : undefined,
    height: has('size') ? row.height : undefined,
    regions: has('regions') ? row.regions : undefined,
    ms: has('timings') ? row.ms : undefined,
    problem,
  };
}

/** Answers stand where captions do, the best one in its own column; what is nested is JSON in its cell. */
function csv(fields: readonly Field[]): Format {
  const columns = [
    'image',
    'id',
    'question',
    ...FIELDS.flatMap((field) => (fields.includes(field) ? (field === 'size' ? ['width', 'height'] : [field]) : [])),
    'answer',
    'answers',
    'problem',
  ];
  // A spreadsheet must not take a name for a formula; a number stays one.
  const toLine = (cells: readonly unknown[]): string => stringify([[...cells]], { escape_formulas: true });
  return {
    head: toLine(columns),
    format: (row) => (row.skipped ? undefined : toLine(columns.map((column) => cellOf(row, column)))),
    separator: '',
    tail: '',
  };
}

function cellOf(row: Row, column: string): unknown {
  switch (column) {
    case 'answer':
      return row.answers?.[0]?.answer;
    case 'score':
      return row.score ?? row.answers?.[0]?.score;
    case 'timings':
      return row.ms;
    case 'problem':
      return row.problem && `${row.problem.code}: ${row.problem.detail}`;
    default: {
      const value = (row as unknown as Record<string, unknown>)[column];
      return typeof value === 'object' ? JSON.stringify(value) : value;
    }
  }
}
