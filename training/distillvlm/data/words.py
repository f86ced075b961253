"""Every word that a pair of models shares: vocabulary, tag words, answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch

from distillvlm.data.text_batches import mirror_words
from distillvlm.data.vocabulary import Tokenizer, bert_vocabulary, build_vocabulary
from distillvlm.structures.lexicon import Lexicon

MIN_TAG_PIECES = 2  # each further piece costs every photo as many places of its prefix as it has tags


@dataclass(frozen=True)
class Words:
    """vocabulary: WordPieces, specials first. tags, answers: plain words.

    caption_pieces: those that captions use. caption_counts: how often each is said; behind them how many captions there
    are.
    """

    vocabulary: tuple[str, ...]
    caption_pieces: tuple[str, ...]
    caption_counts: tuple[int, ...]
    tags: tuple[str, ...]
    answers: tuple[str, ...]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self.vocabulary)

    @cached_property
    def caption_rows(self) -> list[int]:
        """Rows of the vocabulary that a caption may hold: `caption_pieces`, and behind them [SEP]."""
        row_of = {piece: row for row, piece in enumerate(self.vocabulary)}
        return [*(row_of[piece] for piece in self.caption_pieces), self.tokenizer.sep_id]

    @cached_property
    def lexicon(self) -> Lexicon:
        """Tag words as padded rows of as many first WordPieces as tell them all apart, and the mask of pieces that a
        caption may hold.

        Raises:
            ValueError: two tags have the same pieces.
        """
        tokenizer = self.tokenizer
        pieces = _shortest_distinct([tokenizer.encode(tag) for tag in self.tags])
        tag_tokens = torch.full((len(pieces), max(map(len, pieces))), tokenizer.pad_id)
        for row, tokens in enumerate(pieces):
            tag_tokens[row, : len(tokens)] = torch.tensor(tokens)
        allowed = torch.zeros(len(self.vocabulary), dtype=torch.bool)
        allowed[self.caption_rows] = True
        return Lexicon(tag_tokens, allowed, tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)

    @cached_property
    def caption_prior(self) -> torch.Tensor:
        """Log-probability float32 [V] of each piece in captions, [SEP] among them; half a count for the unseen."""
        counts = torch.full((len(self.vocabulary),), 0.5)
        counts[self.caption_rows] += torch.tensor(self.caption_counts, dtype=torch.float32)
        return (counts / counts.sum()).log()

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Words:
        return cls(**{name: tuple(words) for name, words in json.loads(path.read_text()).items()})


def _shortest_distinct(pieces: list[list[int]]) -> list[list[int]]:
    for length in range(MIN_TAG_PIECES, max(map(len, pieces), default=0) + MIN_TAG_PIECES):
        shortened = [row[:length] for row in pieces]
        if len({tuple(row) for row in shortened}) == len(shortened):
            return shortened
    raise ValueError("tags: expected words that differ in their pieces")


def collect_words(
    captions: Iterable[str],
    questions: Iterable[str],
    tags: Sequence[str],
    answers: Sequence[str],
    min_count: int,
) -> Words:
    """Words over the pieces that are said `min_count` times or more, and those of every tag."""
    captions, questions = list(captions), list(questions)
    vocabulary = build_vocabulary(bert_vocabulary(), [*captions, *questions], min_count, always=tags)
    return words_over(vocabulary, captions, tags, answers)


def words_over(
    vocabulary: Sequence[str], captions: Sequence[str], tags: Sequence[str], answers: Sequence[str]
) -> Words:
    """Words over a given vocabulary; captions may use the pieces that they, or their mirror images, have."""
    tokenizer = Tokenizer(vocabulary)
    said = Counter(piece for caption in captions for piece in tokenizer.encode(caption))
    used = {*said, *(piece for caption in captions for piece in tokenizer.encode(mirror_words(caption)))}
    specials = {tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
    rows = sorted(used - specials)
    counts = (*(said[row] for row in rows), len(captions))
    return Words(tuple(vocabulary), tuple(vocabulary[row] for row in rows), counts, tuple(tags), tuple(answers))
