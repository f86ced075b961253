/** Weight of recall over precision, as the COCO evaluation sets it. */
const BETA = 1.2;

/**
 * ROUGE-L of a caption, 0-1: the best precision and the best recall over the references.
 * @see Lin 2004; pycocoevalcap's rouge.py
 */
export function rougeL(words: readonly string[], references: readonly (readonly string[])[]): number {
  // pycocoevalcap splits an empty sentence into one empty word.
  const hypothesis = orEmptyWord(words);
  const common = references.map((reference) => longestCommonSubsequence(hypothesis, orEmptyWord(reference)));
  const precision = Math.max(...common.map((length) => length / hypothesis.length));
  const recall = Math.max(...common.map((length, n) => length / orEmptyWord(references[n] ?? []).length));
  return precision === 0 || recall === 0
    ? 0
    : ((1 + BETA ** 2) * precision * recall) / (recall + BETA ** 2 * precision);
}

function orEmptyWord(words: readonly string[]): readonly string[] {
  return words.length === 0 ? [''] : words;
}

function longestCommonSubsequence(a: readonly string[], b: readonly string[]): number {
  let lengths = Array<number>(b.length + 1).fill(0);
  for (const word of a) {
    const next = [0];
    for (const [n, other] of b.entries()) {
      next.push(word === other ? (lengths[n] ?? 0) + 1 : Math.max(lengths[n + 1] ?? 0, next[n] ?? 0));
    }
    lengths = next;
  }
  return lengths.at(-1) ?? 0;
}
