import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Tokenizer } from '../../src/text/tokenizer';
import { readGolden } from '../golden';
import { TINY_BUNDLE } from '../tiny-bundle';

interface TokenCases {
  readonly encode: { readonly text: string; readonly ids: number[] }[];
  readonly decode: { readonly ids: number[]; readonly text: string }[];
}

const golden = readGolden('tokens.json') as TokenCases;
const tokenizer = new Tokenizer(JSON.parse(readFileSync(path.join(TINY_BUNDLE, 'tokenizer.json'), 'utf8')));

test.each(golden.encode)('$text has the ids that training gives it', ({ text, ids }) => {
  expect(tokenizer.encode(text)).toEqual(ids);
});

test.each(golden.decode)('$ids reads $text, as in training', ({ ids, text }) => {
  expect(tokenizer.decode(ids)).toBe(text);
});

test('a piece keeps the mark that it continues a word', () => {
  const [, stem = 0, ending = 0] = tokenizer.encode('dogs');
  expect([tokenizer.piece(stem), tokenizer.piece(ending)]).toEqual(['dog', '##s']);
});
