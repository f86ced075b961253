import path from 'node:path';
import { type ConfidenceBin, fullScoreOf, type Measured, type Report, type TaskReport } from './report';

/** Of the longest bar, in characters. */
const BAR = 20;

/** @param folder where it will lie: photos are linked from there */
export function toMarkdown({ items, failed, skipped, meanConfidence, tasks }: Report, folder: string): string {
  const facts = [`${items} items, ${failed} failed, ${skipped} skipped`];
  if (meanConfidence !== undefined) {
    facts.push(`mean confidence ${meanConfidence.toFixed(3)}`);
  }
  return ['# Scores', '', `${facts.join(', ')}.`, '', ...tasks.flatMap((task) => taskLines(task, folder))].join('\n');
}

function taskLines({ measure, scores, best, worst, bins }: TaskReport, folder: string): string[] {
  return [
    ...(scores.length > 0
      ? [
          `## ${measure}`,
          '',
          ...table(
            ['score', 'points'],
            scores.map(([name, value]) => [name, value.toFixed(2)]),
          ),
        ]
      : []),
    '## Confidence',
    '',
    ...confidenceTable(bins, measure),
    ...examples('Best', best, measure, folder),
    ...examples('Worst', worst, measure, folder),
  ];
}

/** The histogram of confidence, and what it was worth, with bars as Markdown can have them. */
function confidenceTable(bins: readonly ConfidenceBin[], measure: TaskReport['measure']): string[] {
  const most = Math.max(1, ...bins.map(({ items }) => items));
  return table(
    ['confidence', 'items', '', 'mean confidence', `mean ${measure}`, ''],
    bins.map(({ from, items, meanConfidence, meanScore }) => [
      `${from.toFixed(1)}-${(from + 0.1).toFixed(1)}`,
      String(items),
      bar(items / most),
      meanConfidence?.toFixed(3) ?? '',
      meanScore?.toFixed(1) ?? '',
      bar((meanScore ?? 0) / fullScoreOf(measure)),
    ]),
  );
}

function bar(share: number): string {
  return '█'.repeat(Math.round(BAR * Math.min(1, share)));
}

function examples(title: string, items: readonly Measured[], measure: string, folder: string): string[] {
  if (items.length === 0) {
    return [];
  }
  const rows = items.map(({ image, question, said, people, score, confidence }) => {
    const cells = [question === undefined ? image : `${image}: ${question}`, said, people.join(' / ')].map(escape);
    return [picture(image, folder), ...cells, score.toFixed(1), confidence.toFixed(2)];
  });
  return [`## ${title}`, '', ...lines(['', 'photo', 'said', 'people', measure, 'confidence'], rows)];
}

/** Nothing for a photo in S3, which no viewer fetches. */
function picture(image: string, folder: string): string {
  const place = path.relative(folder, image).split(path.sep).map(encodeURIComponent).join('/');
  // Encoded are all characters but some that have a meaning here.
  return image.startsWith('s3://')
    ? ''
    : `![](${place.replace(/[()*!']/g, (mark) => `%${mark.charCodeAt(0).toString(16)}`)})`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return lines(
    head,
    rows.map((cells) => cells.map(escape)),
  );
}

/** @param rows cells that are Markdown already */
function lines(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line), ''];
}

/** Names and answers are anybody's: none may end its cell or become markup. */
function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replace(/[\\|`*_[\]]/g, '\\$&')
    .replace(/\s+/g, ' ');
}
