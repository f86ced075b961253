import { ServiceError } from '../../src/errors';
import { Ended, runStage } from '../../src/vision-language/stage';

const photos = ['a', 'b', 'c'].map((name) => ({ name, leaving: new AbortController() }));
const batch = photos.map(({ name, leaving }) => ({ name, signal: leaving.signal }));
const failed = new Ended(new ServiceError('undecodable_image', 'broken'));

test('every photo keeps its place, whatever becomes of the others', async () => {
  photos[0]?.leaving.abort();
  const seen: string[] = [];
  const after = await runStage(
    [...batch, failed],
    (live) => {
      seen.push(...live.map(({ name }) => name));
      return live.map(({ name }) => (name === 'b' ? failed : { upper: name.toUpperCase() }));
    },
    ({ name }, { upper }) => `${name}${upper}`,
  );
  expect(seen).toEqual(['b', 'c']);
  expect(after).toEqual([new Ended('cancelled'), failed, 'cC', failed]);
});

test('a stage that nobody waits for does not run', async () => {
  const run = jest.fn(() => []);
  await expect(runStage<(typeof batch)[number], object, string>([failed], run, String)).resolves.toEqual([failed]);
  expect(run).not.toHaveBeenCalled();
});

test('a stage that loses a photo is a bug, not a result for another', async () => {
  await expect(runStage(batch.slice(1), () => [{ only: 'one' }], String)).rejects.toThrow(RangeError);
});
