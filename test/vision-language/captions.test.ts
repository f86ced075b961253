import type { Tokenizer } from '../../src/text/tokenizer';
import { readCaptions } from '../../src/vision-language/captions';
import type { GeneratedCaptions } from '../../src/vision-language/model';

const SEP = 3;
/** Reads ids as numbers, so that a test shows which were taken. */
const tokenizer = { decode: (ids: number[]) => ids.join(' '), piece: String } as unknown as Tokenizer;

function generated(tokens: number[][], logProbabilities: number[][]): GeneratedCaptions {
  const dims = [1, tokens.length, tokens[0]?.length ?? 0];
  return {
    tokens: { type: 'int64', data: BigInt64Array.from(tokens.flat(), BigInt), dims },
    logProbabilities: { type: 'float32', data: Float32Array.from(logProbabilities.flat()), dims },
    attention: { type: 'float32', data: new Float32Array(tokens.flat().length), dims: [...dims, 1] },
  };
}

test('a sentence ends before [SEP], whose probability counts; padding does not', () => {
  const captions = readCaptions(generated([[7, 8, SEP, 0]], [[-0.5, -1, -0.75, -9]]), tokenizer, SEP);
  expect(captions).toEqual([{ caption: '7 8', score: Math.exp(-2.25 / 3), logProbability: -2.25 }]);
});

test('a sentence that was cut off has no end, and its score is of the words that it has', () => {
  const captions = readCaptions(generated([[7, 8, 9]], [[-0.5, -1, -0.75]]), tokenizer, SEP);
  expect(captions).toEqual([{ caption: '7 8 9', score: Math.exp(-2.25 / 3), logProbability: -2.25 }]);
});

test('no word at all is an empty caption', () => {
  const captions = readCaptions(generated([[SEP, 0]], [[-0.25, 0]]), tokenizer, SEP);
  expect(captions).toEqual([{ caption: '', score: Math.exp(-0.25), logProbability: -0.25 }]);
});

test('a calibrated score is a chance, a log-probability stays what it is', () => {
  const reading = { calibration: { slope: 2, intercept: -0.5 } };
  const [caption] = readCaptions(generated([[7, SEP]], [[Math.log(0.75), Math.log(0.75)]]), tokenizer, SEP, reading);
  expect(caption?.score).toBeCloseTo(0.845171901, 6);
  expect(caption?.logProbability).toBeCloseTo(2 * Math.log(0.75), 6);
});

test('captions keep the order of the search', () => {
  const captions = readCaptions(
    generated(
      [
        [7, SEP],
        [8, SEP],
      ],
      [
        [-1, -1],
        [-0.5, -0.5],
      ],
    ),
    tokenizer,
    SEP,
  );
  expect(captions.map(({ caption }) => caption)).toEqual(['7', '8']);
});
