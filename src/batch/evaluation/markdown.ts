import type { Measured, Report, TaskReport } from './report';

export function toMarkdown({ items, failed, skipped, meanConfidence, tasks }: Report): string {
  const facts = [`${items} items, ${failed} failed, ${skipped} skipped`];
  if (meanConfidence !== undefined) {
    facts.push(`mean confidence ${meanConfidence.toFixed(3)}`);
  }
  return ['# Scores', '', `${facts.join(', ')}.`, '', ...tasks.flatMap(taskLines)].join('\n');
}

function taskLines({ measure, scores, best, worst, bins }: TaskReport): string[] {
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
    ...table(
      ['confidence', 'items', 'mean confidence', `mean ${measure}`],
      bins.map(({ from, items, meanConfidence, meanScore }) => [
        `${from.toFixed(1)}-${(from + 0.1).toFixed(1)}`,
        String(items),
        meanConfidence?.toFixed(3) ?? '',
        meanScore?.toFixed(1) ?? '',
      ]),
    ),
    ...examples('Best', best, measure),
    ...examples('Worst', worst, measure),
  ];
}

function examples(title: string, items: readonly Measured[], measure: string): string[] {
  return items.length === 0
    ? []
    : [
        `## ${title}`,
        '',
        ...table(
          ['photo', 'said', 'people', measure, 'confidence'],
          items.map(({ image, question, said, people, score, confidence }) => [
            question === undefined ? image : `${image}: ${question}`,
            said,
            people.join(' / '),
            score.toFixed(1),
            confidence.toFixed(2),
          ]),
        ),
      ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.map(escape).join(' | ')} |`;
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
