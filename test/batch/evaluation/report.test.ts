import { toHtml } from '../../../src/batch/evaluation/html';
import { toMarkdown } from '../../../src/batch/evaluation/markdown';
import { reportOf } from '../../../src/batch/evaluation/report';
import type { Row } from '../../../src/batch/item';

const HOSTILE = `x"><script>alert(1)</script>|\n.jpg`;

function answered(image: string, answer: string, score: number, answer_type: string): Row {
  const reference_answers = [...Array<string>(9).fill('dog'), 'cat'];
  return { image, question: 'what?', answers: [{ answer, score }], reference_answers, answer_type };
}

const ROWS: Row[] = [
  answered('right.jpg', 'dog', 0.95, 'other'),
  answered(HOSTILE, 'bird', 0.15, 'other'),
  answered('two.jpg', 'cat', 0.12, 'number'),
  { image: 'broken.jpg', question: 'what?', problem: { code: 'undecodable_image', detail: '' } },
];

test('answers are measured by type and by confidence, best and worst apart', () => {
  const { items, failed, tasks } = reportOf(ROWS);
  expect([items, failed, tasks.length]).toEqual([4, 1, 1]);
  const [task] = tasks;
  // Of nine others who said cat, one: a tenth of 0 and nine tenths of 1/3.
  expect(task?.scores).toEqual([
    ['all', expect.closeTo((100 + 0 + 30) / 3, 6)],
    ['number', expect.closeTo(30, 6)],
    ['other', expect.closeTo(50, 6)],
  ]);
  expect(task?.best.map(({ image }) => image)).toEqual(['right.jpg', 'two.jpg']);
  expect(task?.worst.map(({ image }) => image)).toEqual([HOSTILE]);
  expect(task?.bins.map((bin) => bin.items)).toEqual([0, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
  expect(task?.bins[1]).toEqual({
    from: 0.1,
    items: 2,
    meanScore: 15,
    meanConfidence: expect.closeTo(0.135, 6) as number,
  });
});

test('captions without references have a histogram and no scores', () => {
  const [task] = reportOf([{ image: 'a.jpg', caption: 'a dog', score: 1 }]).tasks;
  expect([task?.scores, task?.best, task?.bins[9]?.items]).toEqual([[], [], 1]);
});

test('no name and no answer becomes markup', () => {
  const report = reportOf(ROWS);
  expect(toHtml(report)).not.toContain('<script');
  const markdown = toMarkdown(report, '.');
  expect(markdown).not.toContain('<script');
  expect(markdown.split('\n').filter((line) => line.includes('script'))).toHaveLength(1);
});

test('Markdown shows photos from where it lies, and bars for histogram and calibration', () => {
  const rows = [answered('photos/a (1) ä|.jpg', 'dog', 0.95, 'other'), answered('s3://b/c.jpg', 'cat', 0.92, 'other')];
  const markdown = toMarkdown(reportOf(rows), 'reports');
  expect(markdown).toContain('| ![](../photos/a%20%281%29%20%C3%A4%7C.jpg) | photos/a (1) ä\\|.jpg: what? | dog |');
  expect(markdown).toContain('|  | s3://b/c.jpg: what? | cat |');
  const [full, most] = [20, 13].map((length) => '█'.repeat(length));
  // (100 + 30) / 2 of 100 points.
  expect(markdown).toContain(`| 0.9-1.0 | 2 | ${full} | 0.935 | 65.0 | ${most} |`);
  expect(markdown).toContain('| 0.8-0.9 | 0 |  |  |  |  |');
});

test('an empty run is a report, too', () => {
  expect(toMarkdown(reportOf([]), '.')).toContain('0 items');
  expect(toHtml(reportOf([]))).toContain('0 items');
});
