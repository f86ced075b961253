import { readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { differenceOf, Journal } from '../../src/batch/journal';
import { temporaryFolder } from './temporary-folder';

const at = temporaryFolder();
const FINGERPRINT = { bundle: '12ab', num_beams: 5 };
const PROBLEM = { code: 'undecodable_image', detail: 'The image is damaged.' };
const ROWS = [
  [
    { image: 'ä\n.jpg', caption: 'a dog' },
    { image: 'b.jpg', problem: PROBLEM },
  ],
  [{ image: 'c.jpg' }],
];

async function written(): Promise<void> {
  const journal = await Journal.create(at('j'), FINGERPRINT);
  await Promise.all([journal.append(1, ROWS[1] ?? []), journal.append(0, ROWS[0] ?? [])]);
  await journal.close();
}

async function reopened(): Promise<Journal> {
  const journal = await Journal.open(at('j'));
  if (journal === undefined) {
    throw new Error('Expected a journal');
  }
  return journal;
}

test('what was appended is there when it is opened again', async () => {
  await written();
  const journal = await reopened();
  expect(journal.fingerprint).toEqual(FINGERPRINT);
  expect(journal.startedAtMs).toBeLessThanOrEqual(statSync(at('j')).mtimeMs);
  expect(journal.startedAtMs).toBeGreaterThan(statSync(at('j')).mtimeMs - 60_000);
  expect(await journal.read(0)).toEqual(ROWS[0]);
  expect(await journal.read(1)).toEqual(ROWS[1]);
  expect(await journal.read(2)).toBeUndefined();
  expect([journal.failedRows, journal.hasFailures(0), journal.hasFailures(1), journal.finished]).toEqual([
    1,
    true,
    false,
    false,
  ]);
  await journal.close();
});

test('wherever it is cut, whole batches are kept, and what is appended then is there', async () => {
  await written();
  const whole = readFileSync(at('j'));
  const lineEnds = [...whole.keys()].filter((n) => whole[n] === 0x0a);
  for (let size = (lineEnds[0] ?? 0) + 1; size <= whole.length; size += 1) {
    writeFileSync(at('j'), whole);
    truncateSync(at('j'), size);
    const journal = await reopened();
    const batches = lineEnds.filter((end) => end < size).length - 1;
    expect([journal.has(1), journal.has(0)]).toEqual([batches >= 1, batches >= 2]);
    await journal.append(0, ROWS[0] ?? []);
    await journal.close();
    const again = await reopened();
    expect(await again.read(0)).toEqual(ROWS[0]);
    await again.close();
  }
});

test('a header that was cut is no journal', async () => {
  await written();
  truncateSync(at('j'), 10);
  expect(await Journal.open(at('j'))).toBeUndefined();
  expect(await Journal.open(at('none'))).toBeUndefined();
});

test('a batch that is done again counts as it was done last', async () => {
  await written();
  const journal = await reopened();
  await journal.append(0, [{ image: 'a.jpg', caption: 'new' }]);
  await journal.finish();
  await journal.close();
  const again = await reopened();
  expect(await again.read(0)).toEqual([{ image: 'a.jpg', caption: 'new' }]);
  expect([again.failedRows, again.finished]).toEqual([0, true]);
  await again.append(1, []);
  expect(again.finished).toBe(false);
  await again.close();
});

test('of thousands of batches each is found', async () => {
  const journal = await Journal.create(at('j'), FINGERPRINT);
  const batches = [2_500, ...Array.from({ length: 2_500 }, (_, batch) => batch)];
  await Promise.all(batches.map((batch) => journal.append(batch, [{ image: `${batch}.jpg`, problem: PROBLEM }])));
  for (const each of [journal, await reopened()]) {
    expect(await each.read(2_500)).toEqual([{ image: '2500.jpg', problem: PROBLEM }]);
    expect(await each.read(1_023)).toEqual([{ image: '1023.jpg', problem: PROBLEM }]);
    expect([each.has(2_501), each.has(9_999), each.failedRows]).toEqual([false, false, 2_501]);
    await each.close();
  }
});

test('one that cannot be begun on a full disk leaves the one before it', async () => {
  await written();
  const before = readFileSync(at('j'), 'utf8');
  symlinkSync('/dev/full', at('j.begun'));
  await expect(Journal.create(at('j'), { bundle: '34cd' })).rejects.toThrow('ENOSPC');
  expect(readFileSync(at('j'), 'utf8')).toBe(before);
  expect(readdirSync(at())).toEqual(['j']);
});

test('a file that is something else is left alone', async () => {
  writeFileSync(at('j'), 'my diary\n');
  await expect(Journal.open(at('j'))).rejects.toThrow('is not the journal of a run of this version');
  expect(readFileSync(at('j'), 'utf8')).toBe('my diary\n');
});

test.each<[object, string]>([
  [{ bundle: '12ab', num_beams: 2 }, 'num_beams 5, not 2'],
  [{ bundle: '12ab' }, 'num_beams 5, not none'],
  [{ ...FINGERPRINT, limit: 3 }, 'limit none, not 3'],
])('what another fingerprint, %j, differs in is named', (now, difference) => {
  expect(differenceOf(FINGERPRINT, now as typeof FINGERPRINT)).toBe(difference);
  expect(differenceOf(now as typeof FINGERPRINT, now as typeof FINGERPRINT)).toBeUndefined();
});
