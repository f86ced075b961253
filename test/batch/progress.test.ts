import { PassThrough } from 'node:stream';
import type { Row } from '../../src/batch/item';
import { Progress } from '../../src/batch/progress';

function rows(count: number): Row[] {
  return Array.from({ length: count }, () => ({ image: 'a.jpg', caption: 'a dog', score: 0.5 }));
}

/** What 20 of 100 photos, of which an earlier run did 10, look like after 5 seconds. */
function shown(isTTY: boolean): string {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 200 });
  const clock = jest.spyOn(performance, 'now').mockReturnValue(1_000);
  const progress = new Progress(100, true, stream as unknown as NodeJS.WriteStream);
  progress.count(rows(10), true);
  clock.mockReturnValue(6_000);
  progress.count([...rows(9), { image: 'b.jpg', problem: { code: 'undecodable_image', detail: '' } }], false);
  progress.stop();
  clock.mockRestore();
  return String(stream.read());
}

const NUMBERS = '20/100 photos, 1 failed, 2.0/s, confidence 0.50, 0:00:05 gone, 0:00:40 left';

test('a terminal has a bar; time left goes by the pace of this run, without what an earlier one did', () => {
  const text = shown(true);
  // Of 40 characters a fifth, and the cursor goes back to the line's beginning.
  expect(text).toContain(`${'='.repeat(8)}${'-'.repeat(32)} ${NUMBERS}`);
  expect(text).toContain('\u001b[');
});

test('elsewhere there are plain lines', () => {
  const text = shown(false);
  expect(text).toContain(NUMBERS);
  expect(text).not.toContain('\u001b[');
  expect(text).not.toContain('=');
});
