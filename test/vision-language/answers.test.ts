import { rankAnswers } from '../../src/vision-language/answers';

const ANSWERS = ['yes', 'no', 'red', '2'];

test('sigmoid: each score stands for itself', () => {
  const ranked = rankAnswers(Float32Array.of(0, -2, Math.log(3), 0), ANSWERS, 'sigmoid', 3);
  expect(ranked.map(({ answer }) => answer)).toEqual(['red', 'yes', '2']);
  expect(ranked[0]?.score).toBeCloseTo(0.75, 6);
  expect(ranked[1]?.score).toBe(0.5);
});

test('softmax: all scores sum to 1, also of logits beyond the range of exp', () => {
  const ranked = rankAnswers(Float32Array.of(1000, 1000 + Math.log(3), -1000, -1000), ANSWERS, 'softmax', 4);
  expect(ranked.map(({ answer }) => answer)).toEqual(['no', 'yes', 'red', '2']);
  expect(ranked[0]?.score).toBeCloseTo(0.75, 4);
  expect(ranked.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 6);
});

test('sigmoid scores that round to 1 keep the order of their logits', () => {
  const ranked = rankAnswers(Float32Array.of(90, 100, 95, 80), ANSWERS, 'sigmoid', 4);
  expect(ranked.map(({ answer }) => answer)).toEqual(['no', 'red', 'yes', '2']);
});

test('no more answers than there are', () => {
  expect(rankAnswers(Float32Array.of(1, 2, 3, 4), ANSWERS, 'sigmoid', 20)).toHaveLength(4);
});
