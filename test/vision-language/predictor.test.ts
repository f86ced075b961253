import { setImmediate } from 'node:timers/promises';
import sharp from 'sharp';
import { Bundle } from '../../src/onnx/bundle';
import type { Precision } from '../../src/onnx/precision';
import { calibrate } from '../../src/vision-language/calibration';
import { Predictor } from '../../src/vision-language/predictor';
import type { AnswerResult, CaptionResult, DecodingOptions } from '../../src/vision-language/results';
import { Ended, type StageReport } from '../../src/vision-language/stage';
import { goldenImage, readGolden } from '../golden';
import { TINY_BUNDLE } from '../tiny-bundle';

jest.setTimeout(60_000);

interface Prediction {
  readonly image: string;
  /** Base64 of uint8 [64, 64, 3]. */
  readonly pixels: string;
  readonly regions: {
    readonly boxes: readonly [number, number, number, number][];
    readonly labels: readonly number[];
    readonly attributes: readonly number[];
    readonly scores: readonly number[];
    readonly valid: readonly boolean[];
  };
  readonly captions: readonly {
    readonly num_beams: number;
    readonly captions: readonly {
      readonly text: string;
      readonly score: number;
      readonly log_probability: number;
      /** [tokens, R], `[SEP]` included. */
      readonly attention: readonly (readonly number[])[];
    }[];
  }[];
  readonly answers: readonly {
    readonly question: string;
    readonly answers: readonly { readonly answer: string; readonly score: number }[];
  }[];
}

const GOLDEN = readGolden('predictions.json') as Prediction[];
const LABELS = ['dog', 'cat', 'man', 'tree', 'car', 'traffic light'];
const ATTRIBUTES = ['red', 'blue', 'wooden', 'small'];
const OPTIONS: DecodingOptions = {
  numBeams: 3,
  numCaptions: 1,
  maxTokens: 20,
  topK: 5,
  regions: false,
  explain: false,
};
/** Decimals that batches of other sizes, and Python, leave the same. */
const DECIMALS = 4;

let predictor: Predictor;
let reports: StageReport[] = [];
beforeAll(async () => {
  predictor = await load('fp32');
});
beforeEach(() => {
  reports = [];
});

const waiting = new AbortController().signal;

async function load(precision: Precision): Promise<Predictor> {
  const options = {
    session: { threads: 1, executionProviders: ['cpu'], precision },
    maxPixelsInDecoding: 50e6,
    cacheBytes: 0,
  };
  return Predictor.load(await Bundle.open(TINY_BUNDLE), options, (report) => reports.push(report));
}

/** The very pixels that Python had, in a file that keeps them. */
async function sameFile({ pixels }: Prediction): Promise<Buffer> {
  const raw = { width: 64, height: 64, channels: 3 } as const;
  return sharp(Buffer.from(pixels, 'base64'), { raw }).png().toBuffer();
}

function succeeded<Result extends object>(result: Result | Ended | undefined): Result {
  if (result === undefined || result instanceof Ended) {
    throw new Error(`Expected a result but received ${String(result?.reason)}`);
  }
  return result;
}

async function caption(image: Buffer, options: Partial<DecodingOptions> = {}): Promise<CaptionResult> {
  const [result] = await predictor.caption([{ image, signal: waiting }], { ...OPTIONS, ...options });
  return succeeded(result);
}

async function answer(
  image: Buffer,
  questions: string[],
  options: Partial<DecodingOptions> = {},
): Promise<AnswerResult> {
  const [result] = await predictor.answer([{ image, questions, signal: waiting }], { ...OPTIONS, ...options });
  return succeeded(result);
}

test('in fp16 captions and answers are the same, and scores nearly', async () => {
  const half = await load('fp16');
  const photos = await Promise.all(GOLDEN.map(async (golden) => ({ image: await sameFile(golden), signal: waiting })));
  const questions = ['What colour is the dog?'];
  const asked = photos.map((photo) => ({ ...photo, questions }));
  const [said, saidInHalf] = await Promise.all([predictor, half].map((each) => each.caption(photos, OPTIONS)));
  const [given, givenInHalf] = await Promise.all([predictor, half].map((each) => each.answer(asked, OPTIONS)));
  for (const row of photos.keys()) {
    const [one, other] = [said, saidInHalf].map((results) => succeeded(results?.[row]).captions[0]);
    expect(other?.caption).toBe(one?.caption);
    expect(other?.score).toBeCloseTo(one?.score ?? Number.NaN, 2);
    const [first, second] = [given, givenInHalf].map((results) => succeeded(results?.[row]).results[0]?.answers[0]);
    expect(second?.answer).toBe(first?.answer);
    expect(second?.score).toBeCloseTo(first?.score ?? Number.NaN, 2);
    expect(second?.score).not.toBe(first?.score);
  }
});

describe.each(GOLDEN)('what Python says of the pixels of $image', (golden) => {
  test.each(golden.captions)('captions, beams of $num_beams', async ({ num_beams: numBeams, captions }) => {
    const result = await caption(await sameFile(golden), { numBeams, numCaptions: numBeams });
    expect(result.captions.map((found) => found.caption)).toEqual(captions.map(({ text }) => text));
    for (const [n, { score, log_probability: logProbability }] of captions.entries()) {
      expect(result.captions[n]?.score).toBeCloseTo(score, DECIMALS);
      expect(result.captions[n]?.logProbability).toBeCloseTo(logProbability, DECIMALS);
    }
  });

  test('answers, all questions at once', async () => {
    const questions = golden.answers.map(({ question }) => question);
    const { results } = await answer(await sameFile(golden), questions);
    expect(results.map(({ question }) => question)).toEqual(questions);
    for (const [n, { answers }] of golden.answers.entries()) {
      expect(results[n]?.answers.map((found) => found.answer)).toEqual(answers.map((found) => found.answer));
      for (const [rank, { score }] of answers.entries()) {
        expect(results[n]?.answers[rank]?.score).toBeCloseTo(score, DECIMALS);
      }
    }
  });

  test('the stages of words tell their tokens', async () => {
    const photo = await sameFile(golden);
    const beams = golden.captions.find(({ num_beams }) => num_beams === 3)?.captions ?? [];
    await caption(photo, { numBeams: 3, numCaptions: 3 });
    const written = beams.reduce((sum, { attention }) => sum + attention.length, 0);
    expect(reports.at(-1)).toMatchObject({ stage: 'caption', tokens: written });
    await answer(photo, ['What colour is the dog?', 'is this a cat']);
    // As in test/golden/tokens.json.
    expect(reports.at(-1)).toMatchObject({ stage: 'answer', tokens: 8 + 6 });
    expect(reports.filter(({ tokens }) => tokens !== undefined)).toHaveLength(2);
  });

  test('regions: valid ones with a label, in pixels', async () => {
    const { boxes, labels, attributes, scores, valid } = golden.regions;
    const objects = [...labels.keys()].filter((row) => valid[row] && (labels[row] ?? -1) >= 0);
    const { regions = [] } = await caption(await sameFile(golden), { regions: true });
    expect(regions.map(({ label, attribute }) => [label, attribute])).toEqual(
      objects.map((row) => [LABELS[labels[row] ?? -1], ATTRIBUTES[attributes[row] ?? -1]]),
    );
    for (const [n, row] of objects.entries()) {
      expect(regions[n]?.score).toBeCloseTo(scores[row] ?? NaN, DECIMALS);
      // A box of 1e-4 of the photo is 1e-4 of 64 pixels.
      boxes[row]?.forEach((edge, e) => {
        expect(regions[n]?.box[e]).toBeCloseTo(edge * 64, 2);
      });
    }
  });

  test('weights of the objects behind each word', async () => {
    const { labels, valid } = golden.regions;
    const objects = [...labels.keys()].filter((row) => valid[row] && (labels[row] ?? -1) >= 0);
    const search = golden.captions.find(({ num_beams: beams }) => beams === OPTIONS.numBeams);
    const attention = search?.captions[0]?.attention ?? [];
    const { captions, regions } = await caption(await sameFile(golden), { explain: true });
    const words = captions[0]?.words ?? [];
    expect(regions).toHaveLength(objects.length);
    expect(
      words
        .map(({ word }) => word)
        .join(' ')
        .replaceAll(' ##', ''),
    ).toBe(captions[0]?.caption);
    for (const [step, { weights }] of words.entries()) {
      const all = attention[step] ?? [];
      const total = all.reduce((sum, weight) => sum + weight, 0);
      expect(weights).toHaveLength(objects.length);
      objects.forEach((row, n) => {
        expect(weights[n]).toBeCloseTo((all[row] ?? NaN) / total, DECIMALS);
      });
    }
  });
});

describe('a batch', () => {
  const photos = GOLDEN.map(({ image }) => goldenImage(image));

  test('gives every photo the caption that it gets alone', async () => {
    const together = await predictor.caption(
      photos.map((image) => ({ image, signal: waiting })),
      OPTIONS,
    );
    expect(together).toHaveLength(photos.length);
    for (const [n, photo] of photos.entries()) {
      expectSame(succeeded(together[n]), await caption(photo));
    }
  });

  test('gives every photo the answers that it gets alone, however many questions the others have', async () => {
    const questions = [
      ['what is this?'],
      ['is this a cat', 'how many people are on the table?'],
      ['who'],
      ['where', 'a'],
    ];
    const requests = photos.map((image, n) => ({ image, questions: questions[n] ?? [], signal: waiting }));
    const together = await predictor.answer(requests, { ...OPTIONS, explain: true });
    for (const [n, request] of requests.entries()) {
      expectSame(succeeded(together[n]), await answer(request.image, request.questions, { explain: true }));
    }
  });

  test('loses only the photo that is broken and the one that nobody waits for', async () => {
    const [first, second] = photos as [Buffer, Buffer];
    const [one, broken, left, two] = await predictor.caption(
      [
        { image: first, signal: waiting },
        { image: second.subarray(0, second.length / 2), signal: waiting },
        { image: first, signal: AbortSignal.abort() },
        { image: second, signal: waiting },
      ],
      OPTIONS,
    );
    expectSame(succeeded(one), await caption(first));
    expect(broken).toMatchObject({ reason: { code: 'undecodable_image' } });
    expect(left).toEqual(new Ended('cancelled'));
    expectSame(succeeded(two), await caption(second));
  });

  test('of broken photos only has no run of a graph', async () => {
    const results = await predictor.caption([{ image: Buffer.from('x'), signal: waiting }], OPTIONS);
    expect(results).toMatchObject([{ reason: { code: 'unsupported_image_format' } }]);
  });

  test('is decoded before its turn, and has the graphs afterwards', async () => {
    let take: () => void = () => undefined;
    const turn = new Promise<void>((resolve) => {
      take = resolve;
    });
    const run = predictor.caption([{ image: goldenImage('small.png'), signal: waiting }], OPTIONS, turn);
    while (reports.length === 0) {
      await setImmediate();
    }
    await setImmediate();
    expect(reports.map(({ stage }) => stage)).toEqual(['decode']);
    take();
    await run;
    expect(reports.map(({ stage }) => stage)).toEqual(['decode', 'detect', 'prefix', 'caption']);
  });

  test('drops a photo that is cancelled while it runs', async () => {
    const leaving = new AbortController();
    const [staying, left] = photos as [Buffer, Buffer];
    const run = predictor.caption(
      [
        { image: staying, signal: waiting },
        { image: left, signal: leaving.signal },
      ],
      OPTIONS,
    );
    await setImmediate();
    leaving.abort();
    const [result, dropped] = await run;
    expect(succeeded(result).captions).toHaveLength(1);
    expect(dropped).toEqual(new Ended('cancelled'));
  });
});

test('a question beyond the limit of the bundle fails its photo, not the batch', async () => {
  const image = goldenImage('small.png');
  const results = await predictor.answer(
    [
      { image, questions: ['is this a cat', 'x '.repeat(300)], signal: waiting },
      { image, questions: ['is this a cat'], signal: waiting },
    ],
    OPTIONS,
  );
  expect(results[0]).toMatchObject({
    reason: { code: 'limit_exceeded', detail: expect.stringMatching(/302 word pieces/) as string },
  });
  expect(succeeded(results[1]).results).toHaveLength(1);
});

test('words that the vocabulary does not know are no error', async () => {
  const { results } = await answer(goldenImage('small.png'), ['狗在哪里?', '🐕']);
  expect(results).toHaveLength(2);
});

test('a caption of one token is cut off there, without an end', async () => {
  const { captions } = await caption(goldenImage('small.png'), { maxTokens: 1, explain: true });
  expect(captions[0]?.words).toHaveLength(1);
  const { calibration } = (await Bundle.open(TINY_BUNDLE)).manifest.scores.caption;
  const probability = Math.exp(captions[0]?.logProbability ?? NaN);
  expect(captions[0]?.score).toBeCloseTo(calibrate(probability, calibration), DECIMALS);
});

test('answers asked for beyond those that there are', async () => {
  const { results } = await answer(goldenImage('small.png'), ['what'], { topK: 20 });
  expect(results[0]?.answers).toHaveLength(8);
});

/** Equal but for the last digits of numbers, which a batch of another size may change. */
function expectSame(actual: object, expected: object): void {
  const [found, wanted] = [takeNumbersOut(actual), takeNumbersOut(expected)];
  expect(found.rest).toBe(wanted.rest);
  for (const [n, number] of wanted.numbers.entries()) {
    expect(found.numbers[n]).toBeCloseTo(number, DECIMALS);
  }
}

function takeNumbersOut(value: object): { rest: string; numbers: number[] } {
  const numbers: number[] = [];
  const rest = JSON.stringify(value, (_key, part: unknown) => (typeof part === 'number' ? numbers.push(part) : part));
  return { rest, numbers };
}
