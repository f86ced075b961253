/** How often each run of 1 to 4 words occurs, by length: `counts[0]` are the words. */
export type NgramCounts = readonly ReadonlyMap<string, number>[];

export const ORDERS = 4;

export function countNgrams(words: readonly string[]): NgramCounts {
  return Array.from({ length: ORDERS }, (_, order) => {
    const counts = new Map<string, number>();
    for (let from = 0; from + order < words.length; from += 1) {
      const ngram = words.slice(from, from + order + 1).join(' ');
      counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
    }
    return counts;
  });
}
