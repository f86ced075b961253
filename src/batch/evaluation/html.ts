import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { type ConfidenceBin, fullScoreOf, type Measured, type Report, type TaskReport } from './report';

const WIDTH = 360;
const HEIGHT = 200;
const STYLE = `body{font:15px system-ui;max-width:960px;margin:2em auto;padding:0 1em}table{border-collapse:collapse}
td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}figure{display:inline-block;width:210px;vertical-align:top;margin:0 1em 1em 0}
img{max-width:210px;max-height:160px}svg{background:#f7f7f7;margin-right:1em}figcaption{font-size:13px}rect{fill:#4a7ab5}`;

/** A page of its own: only the photos are fetched, from where they lie. */
export function toHtml({ items, failed, skipped, meanConfidence, tasks }: Report): string {
  const confidence = meanConfidence === undefined ? '' : `, mean confidence ${meanConfidence.toFixed(3)}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Scores</title><style>${STYLE}</style></head><body>
<h1>Scores</h1><p>${items} items, ${failed} failed, ${skipped} skipped${confidence}.</p>
${tasks.map(taskSection).join('\n')}
</body></html>
`;
}

function taskSection({ measure, scores, best, worst, bins }: TaskReport): string {
  const rows = scores.map(([name, value]) => `<tr><td>${escape(name)}</td><td>${value.toFixed(2)}</td></tr>`);
  return `<h2>${measure}</h2>
${rows.length > 0 ? `<table>${rows.join('')}</table>` : '<p>The input has nothing to measure against.</p>'}
<h3>Confidence</h3>${histogram(bins)}${calibration(bins, measure)}
${examples('Best', best, measure)}${examples('Worst', worst, measure)}`;
}

function histogram(bins: readonly ConfidenceBin[]): string {
  const most = Math.max(1, ...bins.map(({ items }) => items));
  const step = WIDTH / bins.length;
  const bars = bins.map(({ items, from }, n) => {
    const height = (items / most) * (HEIGHT - 20);
    const [x, y] = [n * step + 2, HEIGHT - height];
    return `<rect x="${x}" y="${y.toFixed(1)}" width="${step - 4}" height="${height.toFixed(1)}"><title>from ${from}: ${items}</title></rect>`;
  });
  return `<svg width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="items by confidence">${bars.join('')}</svg>`;
}

/** Confidence to the right, what it was worth upwards: CIDEr-D up to 200 points, accuracy up to 100, on the diagonal. */
function calibration(bins: readonly ConfidenceBin[], measure: TaskReport['measure']): string {
  const most = fullScoreOf(measure);
  const points = bins.flatMap(({ meanConfidence, meanScore }) =>
    meanConfidence === undefined || meanScore === undefined
      ? []
      : [{ x: meanConfidence * WIDTH, y: HEIGHT * (1 - Math.min(1, meanScore / most)), meanConfidence, meanScore }],
  );
  const dots = points.map(
    ({ x, y, meanConfidence, meanScore }) =>
      `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4"><title>${meanConfidence.toFixed(2)}: ${meanScore.toFixed(1)}</title></circle>`,
  );
  return points.length === 0
    ? ''
    : `<svg width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${measure} by confidence"><line x1="0" y1="${HEIGHT}" x2="${WIDTH}" y2="0" stroke="#bbb"/>${dots.join('')}</svg>`;
}

function examples(title: string, items: readonly Measured[], measure: string): string {
  const figures = items.map(({ image, question, said, people, score, confidence }) => {
    const asked = question === undefined ? '' : `${escape(question)} `;
    return `<figure><img src="${escape(address(image))}" alt="" loading="lazy"><figcaption>${asked}<b>${escape(said)}</b><br>${measure} ${score.toFixed(1)}, confidence ${confidence.toFixed(2)}<br>${people.map(escape).join('<br>')}</figcaption></figure>`;
  });
  return items.length === 0 ? '' : `<h3>${title}</h3>${figures.join('')}`;
}

function address(image: string): string {
  return image.startsWith('s3://') ? image : pathToFileURL(path.resolve(image)).href;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
