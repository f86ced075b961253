import * as tokenizers from '@huggingface/tokenizers';

// The package's declarations import each other without file extensions, which TypeScript does not resolve for Node.
interface HuggingFaceTokenizer {
  encode(text: string): { readonly ids: number[] };
  decode(ids: number[], options: { readonly skip_special_tokens: boolean }): string;
  id_to_token(id: number): string | undefined;
}
const { Tokenizer: HuggingFaceTokenizer } = tokenizers as unknown as {
  readonly Tokenizer: new (tokenizer: unknown, config: object) => HuggingFaceTokenizer;
};

/** WordPiece as in BERT: questions to token ids, token ids of captions to sentences. */
export class Tokenizer {
  private readonly tokenizer: HuggingFaceTokenizer;

  /** @param json the content of a `tokenizer.json`, whose post-processor adds `[CLS]` and `[SEP]` */
  constructor(json: unknown) {
    this.tokenizer = new HuggingFaceTokenizer(json, {});
  }

  /** Ids of `[CLS] question [SEP]`; words that the vocabulary cannot spell are `[UNK]`. */
  encode(question: string): number[] {
    return this.tokenizer.encode(question).ids;
  }

  /** WordPieces joined to words, special tokens left out. */
  decode(ids: readonly number[]): string {
    return this.tokenizer.decode([...ids], { skip_special_tokens: true });
  }

  /** The text of one token; a piece that continues a word begins with `##`. */
  piece(id: number): string {
    return this.tokenizer.id_to_token(id) ?? '[UNK]';
  }
}
