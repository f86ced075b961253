import { captionScores } from '../../../src/batch/evaluation/caption-scores';
import { tokenize } from '../../../src/batch/evaluation/ptb-tokenizer';
import { normalizeAnswer, vqaAccuracy } from '../../../src/batch/evaluation/vqa-accuracy';
import { readGolden } from '../../golden';

/** What pycocoevalcap and the official script of VQA say, written by `python -m distillvlm.export.golden_scores`. */
const GOLDEN = readGolden('scores.json') as {
  tokens: { text: string; tokens: string[] }[];
  captions: { caption: string; references: string[] }[];
  cider_d: number;
  cider_d_of_photo: number[];
  bleu: number[];
  rouge_l: number;
  forms: { answer: string; form: string }[];
  answers: { answer: string; people: string[]; accuracy: number }[];
};

test.each(GOLDEN.tokens)("the tokens of $text are Stanford's", ({ text, tokens }) => {
  expect(tokenize(text)).toEqual(tokens);
});

test("CIDEr-D, BLEU and ROUGE-L are pycocoevalcap's to 1e-4", () => {
  const scores = captionScores(GOLDEN.captions);
  expect(scores.cider_d).toBeCloseTo(GOLDEN.cider_d, 4);
  expect(scores.rouge_l).toBeCloseTo(GOLDEN.rouge_l, 4);
  for (const [order, bleu] of GOLDEN.bleu.entries()) {
    expect(scores.bleu[order]).toBeCloseTo(bleu, 4);
  }
  for (const [photo, cider] of GOLDEN.cider_d_of_photo.entries()) {
    expect(scores.cider_d_of_photo[photo]).toBeCloseTo(cider, 4);
  }
});

test.each(GOLDEN.forms)('the normal form of $answer is the official one', ({ answer, form }) => {
  expect(normalizeAnswer(answer)).toBe(form);
});

test.each(GOLDEN.answers)('the accuracy of $answer is the official one', ({ answer, people, accuracy }) => {
  expect(vqaAccuracy(answer, people)).toBeCloseTo(accuracy, 10);
});
