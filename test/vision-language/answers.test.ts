import { rankAnswers } from '../../src/vision-language/answers';

const ANSWERS = ['yes', 'no', 'red', '2'];

test('sigmoid: each score stands for itself', () => {
  const ranked = rankAnswers(Float32Array.of(0, -2, Math.log(3), 0), ANSWERS, { activation: 'sigmoid' }, 3);
  expect(ranked.map(({ answer }) => answer)).toEqual(['red', 'yes', '2']);
  expect(ranked[0]?.score).toBeCloseTo(0.75, 6);
  expect(ranked[1]?.score).toBe(0.5);
});

test('softmax: all scores sum to 1, also of logits beyond the range of exp', () => {
  const ranked = rankAnswers(
    Float32Array.of(1000, 1000 + Math.log(3), -1000, -1000),
    ANSWERS,
    { activation: 'softmax' },
    4,
  );
  expect(ranked.map(({ answer }) => answer)).toEqual(['no', 'yes', 'red', '2']);
  expect(ranked[0]?.score).toBeCloseTo(0.75, 4);
  expect(ranked.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 6);
});

test('sigmoid scores that round to 1 keep the order of their logits', () => {
  const ranked = rankAnswers(Float32Array.of(90, 100, 95, 80), ANSWERS, { activation: 'sigmoid' }, 4);
  expect(ranked.map(({ answer }) => answer)).toEqual(['no', 'red', 'yes', '2']);
});

test.each([
  // By Python's `Calibration(2.0, -0.5).apply`.
  [0, 0.3775406687981454],
  [Math.log(3), 0.845171901],
  [100, 1],
  [-1000, 0],
])('a calibrated score of logit %p', (logit, score) => {
  const scores = { activation: 'sigmoid', calibration: { slope: 2, intercept: -0.5 } } as const;
  expect(rankAnswers(Float32Array.of(logit), ['yes'], scores, 1)[0]?.score).toBeCloseTo(score, 6);
});

test('no more answers than there are', () => {
  expect(rankAnswers(Float32Array.of(1, 2, 3, 4), ANSWERS, { activation: 'sigmoid' }, 20)).toHaveLength(4);
});
