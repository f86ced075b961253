import { Bundle } from '../../src/onnx/bundle';
import { Predictor } from '../../src/vision-language/predictor';
import type { CaptionResult, DecodingOptions } from '../../src/vision-language/results';
import { Ended, type StageReport } from '../../src/vision-language/stage';
import { goldenImage } from '../golden';
import { TINY_BUNDLE } from '../tiny-bundle';

jest.setTimeout(60_000);

// What a photo that is known costs: the real graphs, and which of them ran for how many photos.

const OPTIONS: DecodingOptions = {
  numBeams: 3,
  numCaptions: 1,
  maxTokens: 20,
  topK: 5,
  regions: true,
  explain: true,
};
const CACHE_BYTES = 10e6;
const waiting = new AbortController().signal;
const photos = { a: goldenImage('exif-1.jpg'), b: goldenImage('exif-6.jpg'), c: goldenImage('small.png') };
type Name = keyof typeof photos;

let ran: string[];
let predictor: Predictor;

async function load(cacheBytes: number): Promise<void> {
  ran = [];
  const options = { session: { threads: 1, executionProviders: ['cpu'] }, maxPixelsInDecoding: 50e6, cacheBytes };
  const note = ({ stage, photos: count }: StageReport): void => {
    ran.push(`${stage} ${count}`);
  };
  predictor = await Predictor.load(await Bundle.open(TINY_BUNDLE), options, note);
}

async function caption(...names: Name[]): Promise<CaptionResult[]> {
  ran = [];
  const results = await predictor.caption(
    names.map((name) => ({ image: photos[name], signal: waiting })),
    OPTIONS,
  );
  return results.map((result) => {
    if (result instanceof Ended) {
      throw new Error(`Expected a result but received ${String(result.reason)}`);
    }
    return result;
  });
}

const cachedOf = (results: readonly CaptionResult[]): (boolean | undefined)[] => results.map(({ cached }) => cached);

describe('with a cache', () => {
  beforeEach(() => load(CACHE_BYTES));

  test('a second request about a photo skips detection and prefix, and is answered the same', async () => {
    const [first] = await caption('a');
    expect(ran).toEqual(['decode 1', 'detect 1', 'prefix 1', 'caption 1']);
    const [second] = await caption('a');
    expect(ran).toEqual(['decode 1', 'caption 1']);
    expect(first?.cached).toBe(false);
    expect(second).toEqual({ ...first, cached: true });
  });

  test('questions find what captions have left, and the other way round', async () => {
    await caption('a');
    const ask = (name: Name) =>
      predictor.answer([{ image: photos[name], questions: ['what is this?', 'who?'], signal: waiting }], OPTIONS);
    ran = [];
    expect(await ask('a')).toMatchObject([{ cached: true, results: [{ question: 'what is this?' }, {}] }]);
    expect(ran).toEqual(['decode 1', 'answer 1']);
    expect(await ask('b')).toMatchObject([{ cached: false }]);
    expect(cachedOf(await caption('b'))).toEqual([true]);
  });

  test('in a batch only what is new is encoded, each photo once, and everybody gets their own', async () => {
    const [a] = await caption('a');
    const batch = await caption('b', 'a', 'b', 'c');
    expect(ran).toEqual(['decode 4', 'detect 2', 'prefix 2', 'caption 4']);
    expect(cachedOf(batch)).toEqual([false, true, true, false]);
    const captionsOf = (results: readonly CaptionResult[]) => results.map(({ captions }) => captions[0]?.caption);
    const [b] = await caption('b');
    const [c] = await caption('c');
    expect(captionsOf(batch)).toEqual(captionsOf([b, a, b, c].flatMap((result) => result ?? [])));
    expect(batch[2]).toEqual({ ...batch[0], cached: true });
  });

  test('a photo is encoded as long as any of those who sent it waits', async () => {
    const [left, stayed] = await predictor.caption(
      [
        { image: photos.a, signal: leavesAfterDecoding() },
        { image: photos.a, signal: waiting },
      ],
      OPTIONS,
    );
    expect(left).toEqual(new Ended('cancelled'));
    expect(stayed).toMatchObject({ captions: [expect.anything()] });
    const nobody = [{ image: photos.b, signal: leavesAfterDecoding() }];
    ran = [];
    expect(await predictor.caption(nobody, OPTIONS)).toEqual([new Ended('cancelled')]);
    expect(ran).toEqual(['decode 1']);
  });
});

test('what there is no room for is encoded again', async () => {
  await load(1);
  await caption('a');
  expect(cachedOf(await caption('a'))).toEqual([false]);
});

test('without a cache nothing is said of one, and equal photos are photos like any other', async () => {
  await load(0);
  expect(cachedOf(await caption('a', 'a'))).toEqual([undefined, undefined]);
  expect(ran).toEqual(['decode 2', 'detect 2', 'prefix 2', 'caption 2']);
});

/** Is looked at before each stage, and aborted from the second time on. */
function leavesAfterDecoding(): { readonly aborted: boolean } {
  let looks = 0;
  return {
    get aborted() {
      looks += 1;
      return looks > 1;
    },
  };
}

test('a photo that is cancelled while those before it are decoded ends, and each that is decoded is told', async () => {
  const leaving = new AbortController();
  let decoded = 0;
  const options = { session: { threads: 1, executionProviders: ['cpu'] }, maxPixelsInDecoding: 1, cacheBytes: 0 };
  predictor = await Predictor.load(await Bundle.open(TINY_BUNDLE), options, undefined, () => {
    decoded += 1;
    leaving.abort();
  });
  const results = await predictor.caption(
    [waiting, leaving.signal].map((signal) => ({ image: photos.a, signal })),
    OPTIONS,
  );
  expect(results).toEqual([expect.objectContaining({ width: expect.any(Number) as number }), new Ended('cancelled')]);
  expect(decoded).toBe(2);
});
