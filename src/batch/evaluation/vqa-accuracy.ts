const ARTICLES = new Set(['a', 'an', 'the']);
const NUMBER_WORDS = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
const DIGIT_OF_WORD = new Map([...NUMBER_WORDS.map((word, n) => [word, String(n)] as const), ['none', '0']]);

const CONTRACTIONS = `
  ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
  he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
  o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
  someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
  there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
  what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
  wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
`;
/** Each contraction with one apostrophe left out; the official table has one the wrong way round, and scores rest on it. */
const CONTRACTION_OF_TYPO = new Map([
  ["somebody'd", 'somebodyd'],
  ...CONTRACTIONS.trim()
    .split(/\s+/)
    .flatMap((word) =>
      Array.from(word).flatMap((character, at): [string, string][] =>
        character === "'" ? [[word.slice(0, at) + word.slice(at + 1), word]] : [],
      ),
    ),
]);
const PUNCTUATION = Array.from(';/[]"{}()=+\\_-><@`,?!');

/**
 * The official normal form of an answer: lower case, no articles, digits for number words, apostrophes in contractions,
 * no punctuation but apostrophes, colons and decimal points.
 * @see https://visualqa.org/evaluation.html; training/distillvlm/evaluation/vqa.py, the same in Python
 */
export function normalizeAnswer(answer: string): string {
  const text = answer.replace(/[\n\t]/g, ' ').trim();
  const hasThousandsSeparator = /\d,\d/.test(text);
  let spaced = text;
  for (const mark of PUNCTUATION) {
    const atASpace = text.includes(`${mark} `) || text.includes(` ${mark}`);
    spaced = spaced.replaceAll(mark, atASpace || hasThousandsSeparator ? '' : ' ');
  }
  const words = spaced
    .replace(/\.(?!\d)/g, '')
    .toLowerCase()
    .split(/\s+/)
    .filter(Boolean)
    .map((word) => DIGIT_OF_WORD.get(word) ?? word);
  return words
    .filter((word) => !ARTICLES.has(word))
    .map((word) => CONTRACTION_OF_TYPO.get(word) ?? word)
    .join(' ');
}

/**
 * Mean over the sets of annotators without one of min(1, annotators who gave the prediction / 3), 0-1. Unanimous
 * answers are compared as they stand, as the official script does.
 * @param answers of people, at least one
 */
export function vqaAccuracy(prediction: string, answers: readonly string[]): number {
  const clean = (text: string): string => text.replace(/[\n\t]/g, ' ').trim();
  const differ = new Set(answers.map(clean)).size > 1;
  const normal = differ ? normalizeAnswer : clean;
  const predicted = normal(prediction);
  const matches = answers.filter((answer) => normal(answer) === predicted).length;
  const others = answers.length - matches;
  return (matches * Math.min(1, (matches - 1) / 3) + others * Math.min(1, matches / 3)) / answers.length;
}
