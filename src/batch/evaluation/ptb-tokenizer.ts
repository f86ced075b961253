// Penn Treebank tokens as the COCO evaluation takes them: those of Stanford's PTBTokenizer 3.4.1 with -lowerCase, less the
// marks that pycocoevalcap drops (its list has -LRB-, but the tokens are lower-cased first, so brackets stay). Written
// from what that tokenizer answers, not from its source. On the 494,424 distinct sentences of COCO, Flickr8k, Flickr30k,
// COCO-QA, VQA v2, DAQUAR and VSR that it was held against, the tokens of all but 6 are equal: they end in one letter or
// a short word with a full stop, which the original keeps or drops by the line that follows, of another photo or not.

const WORD = '[\\p{L}\\p{M}\\p{N}]';
const END = `(?!${WORD})`;
const APOSTROPHE = "['’]";

const ABBREVIATIONS = [
  'jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thurs?|fri',
  'mrs?|ms|drs?|prof|sr|jr|st|mt|sgt|lt|col|gen|capt|cpl|rev|gov|sens?|reps?|maj|messrs|pvt|adm|hon|supt|esq',
  'aves?|blvds?|rd|ct|cos?|corps?|inc|ltd|bros|dept|assn|univ|ph\\.d|vs|etc|al|ft|est|ed|pp|cf|eq',
  'penn|ky|la|ariz|ark|calif|colo|conn|fla|ga|ill|ind|kan|ma|md|mich|minn|mo|neb|nev|okla|tenn|tex|va|vt|wis|wyo',
].join('|');
/** Short for something only where a number follows. */
const NUMBERED = 'no|nos|art|fig|p|pp|sec|vol|ch';
const CLITICS = 's|m|d|ll|re|ve';

interface Rule {
  readonly pattern: RegExp;
  /** What becomes of the text; an empty token is none. */
  readonly toToken?: (text: string) => string;
}

function rule(source: string, toToken?: (text: string) => string): Rule {
  return { pattern: new RegExp(source, 'iuy'), ...(toToken && { toToken }) };
}

const NOTHING = (): string => '';
const PLAIN_APOSTROPHE = (text: string): string => text.replaceAll('’', "'");
/** A space inside a token does not end it. */
const UNBROKEN = (text: string): string => text.replaceAll(' ', '\u00a0');
const ENTITIES: Readonly<Record<string, string>> = { '&amp;': '&', '&lt;': '<', '&gt;': '>' };

/** The first that fits takes its text. */
const RULES: readonly Rule[] = [
  rule(`(?:https?:\\/\\/|www\\.)[^\\s<>"()]*[^\\s<>"().,?!:;'-]`),
  rule(`(?:[a-z0-9-]+\\.)+(?:com|net|org|edu)${END}(?:\\/[^\\s<>"()]*[^\\s<>"().,?!:;'-])?`),
  rule(`[a-z0-9][a-z0-9._+-]*@[a-z0-9-]+(?:\\.[a-z0-9-]+)+`),
  rule(`@[a-z_][a-z_0-9]*`),
  rule(`<\\/?[a-z][^<>]*>`),
  rule(`&(?:amp|lt|gt);`, (text) => ENTITIES[text.toLowerCase()] ?? ''),
  rule(`&(?:quot|apos|nbsp);`, NOTHING),
  rule(`(?:[a-z]\\.)+[a-z]${END}(?!\\.)|(?:[a-z]\\.){2,}${END}`),
  // A mark between two letters, with no space behind it, does not part them.
  rule(`\\p{L}${WORD}*(?:[.!?]\\p{L}${WORD}*)+`),
  // Two words in one, and contractions.
  rule(`can(?=not${END})|(?:gon|wan)(?=na${END})|got(?=ta${END})|(?:gim|lem)(?=me${END})`),
  rule(`'t(?=(?:is|was)${END})`),
  rule(`n${APOSTROPHE}t${END}|${APOSTROPHE}(?:${CLITICS})${END}`, PLAIN_APOSTROPHE),
  // An apostrophe parts the words on its sides but for some: d'or, Xi'an, N'Djamena, c'est.
  rule(`[odl]${APOSTROPHE}(?=\\d*\\p{L})${WORD}+`),
  { pattern: /[A-HJ-XZn]['’]\p{L}{2,}|\p{L}+[aeiouyAEIOUY]['’](?!(?:[DMS]|LL|RE|VE)(?!\p{L}))[aeiouA-Z]\p{L}*/uy },
  rule(`(?:c'mon|c'est|cap'n|s'mores|e'er)${END}`),
  rule(`${APOSTROPHE}(?:n${APOSTROPHE}|(?:\\d0s|em|till?|cause)${END}|n(?=\\s|$))`),
  rule(`(?:[jly]|dunkin|ol|somethin)${APOSTROPHE}`),
  rule(`[a-z]+(?=n${APOSTROPHE}t${END})`),
  // Numbers: times, telephones, fractions, others.
  rule(`\\d+:\\d\\d(?=[ap]m${END})`),
  rule(`\\(?\\d{3}\\)?[- ]\\d{3}[- ]\\d{4}(?!\\d)|\\d{4} \\d{3} \\d{4}(?!\\d)|\\d+ \\d+\\/\\d+${END}`, UNBROKEN),
  rule(`\\d+\\/\\d+(?:\\/\\d+)?(?!-|${WORD})`),
  rule(`[-+]?\\d+(?:[.,:]\\d+)*(?!${WORD}|[-_]${WORD})`),
  rule(`[-+]?[.,:]\\d+(?:[.,:]\\d+)*${END}`),
  // Full stops that belong to a word.
  rule(`(?:${ABBREVIATIONS})\\.${END}|(?:${NUMBERED})\\.(?=\\s*\\d)|[a-z]+\\.(?=[,;])`),
  rule(`i\\.(?=\\s+\\p{Lu})`, (text) => text.slice(0, 1)),
  rule(`[a-z]\\.(?!$|${WORD})`),
  // Brackets that were tokens before.
  rule(`-[lr][rcs]b-`),
  rule(`_+`),
  rule(`[½¼¾]`, (text) => SYMBOLS.get(text) ?? text),
  { pattern: /[A-Z]+(?:&amp;|&)[A-Z]+/uy, toToken: (text) => text.replace('&amp;', '&') },
  rule(`${WORD}+(?:[-_]${WORD}+)*(?:\\/${WORD}+(?:-${WORD}+)*)*`),
  rule(`\\s+|\\.{3}|…|--+|[—–]|\\p{Extended_Pictographic}|\\u{FE0F}`, NOTHING),
  rule(`[?!]+`),
  rule(`[^]`, (text) => SYMBOLS.get(text) ?? text),
];

const SYMBOLS = new Map([
  ...['(', ')', '[', ']', '{', '}'].map((bracket, n) => [bracket, `-${'lr'[n % 2]}${'rsc'[n >> 1]}b-`] as const),
  ...Array.from(`'\`"“”‘’.?!,:-;`).map((mark) => [mark, ''] as const),
  ['½', '1/2'],
  ['¼', '1/4'],
  ['¾', '3/4'],
  ['€', '$'],
  ['£', '#'],
  ['¢', 'cents'],
]);

/** @returns lower-case tokens without punctuation */
export function tokenize(sentence: string): string[] {
  const text = sentence.replace(/\s+/g, ' ').trim();
  const tokens: string[] = [];
  for (let at = 0; at < text.length;) {
    const { token, length } = nextToken(text, at);
    if (token !== '' && !['?', '!'].includes(token)) {
      tokens.push(token.toLowerCase());
    }
    at += length;
  }
  return tokens;
}

function nextToken(text: string, at: number): { token: string; length: number } {
  for (const { pattern, toToken } of RULES) {
    pattern.lastIndex = at;
    const [found] = pattern.exec(text) ?? [];
    if (found !== undefined) {
      return { token: toToken === undefined ? found : toToken(found), length: found.length };
    }
  }
  throw new RangeError('Expected the last rule to take any character');
}
