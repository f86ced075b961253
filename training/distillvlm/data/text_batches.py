"""Records and region stores -> batches of the dense layout."""

# Shapes: B photos, N texts of a photo, T text tokens, A answers.
from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from distillvlm.data.records import Described, Question
from distillvlm.data.region_store import RegionStore
from distillvlm.data.soft_targets import Likeliest, SoftTargets
from distillvlm.data.views import FLIP
from distillvlm.data.vocabulary import Tokenizer
from distillvlm.structures.regions import Regions

Kind = Literal["captions", "questions", "texts", "references"]
UNSEEN_PHOTOS = 1_000_000_000  # numbers of texts without a photo begin here, beyond any store's rows


@dataclass(frozen=True)
class TextBatch:
    """B photos with N texts each.

    kind: references are captions that nobody learns to say: those that a model says itself are compared with them.
    regions: what the model in training sees of the photos; None for texts without a photo.
    teacher_regions: what a teacher sees of the same photos; None where there is none.
    tokens: int64 [B, N, T]; captions `[CLS] w1 .. wn`, questions and other texts `[CLS] .. [SEP]`, then [PAD].
    targets: captions and references int64 [B, N, T] (the next token, [SEP] last, 0 where there is none);
        questions float32 [B, N, A] (soft scores of the answers); other texts float32 [B, N, 0].
    valid: bool [B, N], false for texts that only fill up a photo's row.
    photos: int64 [B], a number for each photo, the same in every batch; texts without a photo have their own.
    soft: what a teacher says is likely where `targets` has what people said: of captions [B, N, T, K], of questions
        [B, N, K]; None where no teacher was asked beforehand.
    """

    kind: Kind
    regions: Regions | None
    teacher_regions: Regions | None
    tokens: Tensor
    targets: Tensor
    valid: Tensor
    photos: Tensor
    soft: Likeliest | None = None

    def to(self, device: torch.device) -> TextBatch:
        return TextBatch(
            self.kind,
            self.regions and self.regions.to(device),
            self.teacher_regions and self.teacher_regions.to(device),
            self.tokens.to(device),
            self.targets.to(device),
            self.valid.to(device),
            self.photos.to(device),
            self.soft and self.soft.to(device),
        )


@dataclass(frozen=True)
class TextPool:
    """The texts of one kind: for each photo (or, without photos, each text) what can be drawn from it.

    photo_ids: their photos; None for texts without a photo. texts: token ids by photo, [CLS] to [SEP], no padding.
    mirrored: the same texts as they are true of the mirrored photo. targets: soft answers for questions.
    """

    kind: Kind
    photo_ids: tuple[str, ...] | None
    texts: tuple[tuple[tuple[int, ...], ...], ...]
    mirrored: tuple[tuple[tuple[int, ...], ...], ...]
    targets: tuple[tuple[dict[int, float], ...], ...]
    mirrored_targets: tuple[tuple[dict[int, float], ...], ...]

    @property
    def size(self) -> int:
        """Texts of all photos together."""
        return sum(map(len, self.texts))


_MIRROR = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}


def mirror_words(text: str) -> str:
    """What a sentence says of the mirrored photo: left and right change places."""
    return re.sub(r"\b(left|right)(most)?\b", lambda match: _MIRROR[match.group().lower()], text, flags=re.IGNORECASE)


def caption_pool(
    photos: Iterable[Described], tokenizer: Tokenizer, max_tokens: int, allowed: Container[int] | None = None
) -> TextPool:
    """Captions of the photos that have any; of longer ones the first `max_tokens` pieces are learnt, and no end.

    A caption with an unknown character is left out: [UNK] is nothing that a model should learn to say. So are those
    with pieces beyond `allowed`, where that is given.
    """
    chosen = _known_texts(((photo.photo_id, photo.captions) for photo in photos), tokenizer, allowed)

    def encode(text: str) -> tuple[int, ...]:
        return (tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id)[: max_tokens + 1]

    return TextPool(
        "captions",
        tuple(photo_id for photo_id, _ in chosen),
        tuple(tuple(encode(text) for text in captions) for _, captions in chosen),
        tuple(tuple(encode(mirror_words(text)) for text in captions) for _, captions in chosen),
        (),
        (),
    )


def text_pool(groups: Iterable[tuple[str, Sequence[str]]], tokenizer: Tokenizer, max_tokens: int) -> TextPool:
    """Texts by photo that a model reads and is not taught to say: for masked words and matching in pre-training.

    Of longer ones the last words are left out, and texts with an unknown character altogether.
    """
    chosen = _known_texts(groups, tokenizer)

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode_question(text, max_tokens))

    nothing: dict[int, float] = {}
    no_targets = tuple((nothing,) * len(texts) for _, texts in chosen)
    return TextPool(
        "texts",
        tuple(photo_id for photo_id, _ in chosen),
        tuple(tuple(map(encode, texts)) for _, texts in chosen),
        tuple(tuple(encode(mirror_words(text)) for text in texts) for _, texts in chosen),
        no_targets,
        no_targets,
    )


def _known_texts(
    groups: Iterable[tuple[str, Sequence[str]]], tokenizer: Tokenizer, allowed: Container[int] | None = None
) -> list[tuple[str, list[str]]]:
    """The groups with a text, without texts that the vocabulary (or its `allowed` pieces) can't write."""

    def is_known(text: str) -> bool:
        pieces = tokenizer.encode(text)
        return tokenizer.unk_id not in pieces and (allowed is None or all(piece in allowed for piece in pieces))

    known = ((photo_id, [text for text in texts if is_known(text)]) for photo_id, texts in groups)
    return [(photo_id, texts) for photo_id, texts in known if texts]


def question_pool(
    groups: Sequence[tuple[str | None, Sequence[Question]]],
    tokenizer: Tokenizer,
    soft_answers: Callable[[Question], dict[str, float]],
    answers: Sequence[str],
    max_tokens: int,
) -> TextPool:
    """Questions with an answer in the vocabulary, grouped by photo (all photo ids None: questions without photos)."""
    index_of = {answer: index for index, answer in enumerate(answers)}

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode_question(text, max_tokens))

    def target(question: Question) -> dict[int, float]:
        return {index_of[word]: score for word, score in soft_answers(question).items() if word in index_of}

    def mirror(question: Question) -> Question:
        return replace(
            question, text=mirror_words(question.text), answers=tuple(mirror_words(word) for word in question.answers)
        )

    kept = [(photo_id, [question for question in questions if target(question)]) for photo_id, questions in groups]
    kept = [(photo_id, questions) for photo_id, questions in kept if questions]
    photo_ids = tuple(photo_id for photo_id, _ in kept if photo_id is not None)
    if photo_ids and len(photo_ids) != len(kept):
        raise ValueError("question_pool: expected photo ids for all groups or for none")
    return TextPool(
        "questions",
        photo_ids or None,
        tuple(tuple(encode(question.text) for question in questions) for _, questions in kept),
        tuple(tuple(encode(mirror(question).text) for question in questions) for _, questions in kept),
        tuple(tuple(target(question) for question in questions) for _, questions in kept),
        tuple(tuple(target(mirror(question)) for question in questions) for _, questions in kept),
    )


class TextBatches:
    """Batches of one pool: photos in a new order every epoch, up to `texts` of each photo's texts drawn at random.

    soft: a teacher's targets for every text of the pool, in the order of its photos and of their texts.
    """

    def __init__(
        self,
        pool: TextPool,
        tokenizer: Tokenizer,
        num_answers: int,
        batch_size: int,
        texts: int,
        seed: int,
        store: RegionStore | None = None,
        teacher_store: RegionStore | None = None,
        soft: SoftTargets | None = None,
    ) -> None:
        if (pool.photo_ids is None) != (store is None):
            raise ValueError("TextBatches: a pool with photos needs a region store, one without needs none")
        if soft is not None and len(soft) != pool.size:
            raise ValueError(f"TextBatches: expected soft targets of {pool.size} texts but received {len(soft)}")
        if len(pool.texts) < batch_size:
            raise ValueError(f"TextBatches: expected at least {batch_size} photos but the pool has {len(pool.texts)}")
        self.pool, self.store, self.teacher_store, self.soft = pool, store, teacher_store, soft
        self._first_text = np.cumsum([0, *map(len, pool.texts)])
        self.pad_id, self.sep_id, self.num_answers = tokenizer.pad_id, tokenizer.sep_id, num_answers
        self.batch_size, self.texts, self.seed = batch_size, texts, seed
        self.steps_per_epoch = len(pool.texts) // batch_size
        self._epoch_order: tuple[int, np.ndarray] = (-1, np.zeros(0, int))

    def batch(self, step: int) -> TextBatch:
        epoch, place = divmod(step, self.steps_per_epoch)
        rows = self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        draw = np.random.default_rng((self.seed, 1, step))
        views = draw.integers(0, self.store.views, len(rows)) if self.store else np.zeros(len(rows), int)
        return self.collate(rows, views, [self._draw(row, draw) for row in rows])

    def collate(self, rows: np.ndarray, views: np.ndarray, chosen: Sequence[Sequence[int]]) -> TextBatch:
        """A batch of these photos (rows of the pool) in these views, with the chosen ones of each photo's texts."""
        width = max(len(texts) for texts in chosen)
        texts_of = [
            self.pool.mirrored[r] if view == FLIP else self.pool.texts[r] for r, view in zip(rows, views, strict=True)
        ]
        is_caption = self.pool.kind == "captions"
        length = max(len(texts_of[b][n]) for b, picks in enumerate(chosen) for n in picks) - is_caption
        tokens = torch.full((len(rows), width, length), self.pad_id)
        valid = torch.zeros(len(rows), width, dtype=torch.bool)
        targets = self._empty_targets(tokens)
        for b, picks in enumerate(chosen):
            for n, pick in enumerate(picks):
                text = torch.tensor(texts_of[b][pick])
                valid[b, n] = True
                if is_caption:
                    tokens[b, n, : len(text) - 1], targets[b, n, : len(text) - 1] = text[:-1], text[1:]
                else:
                    tokens[b, n, : len(text)] = text
                    source = self.pool.mirrored_targets if views[b] == FLIP else self.pool.targets
                    for answer, score in source[rows[b]][pick].items():
                        targets[b, n, answer] = score
        regions, teacher_regions = self._regions(rows, views)
        photos, soft = self._photo_numbers(rows), self._soft(rows, views, chosen, tokens.shape)
        return TextBatch(self.pool.kind, regions, teacher_regions, tokens, targets, valid, photos, soft)

    def text_numbers(self, rows: np.ndarray, chosen: Sequence[Sequence[int]], width: int) -> np.ndarray:
        """Numbers [B, `width`] of the chosen texts among all of the pool; 0 where a row is filled up."""
        numbers = np.zeros((len(rows), width), int)
        for b, picks in enumerate(chosen):
            numbers[b, : len(picks)] = self._first_text[rows[b]] + np.asarray(picks, int)
        return numbers

    def _soft(
        self, rows: np.ndarray, views: np.ndarray, chosen: Sequence[Sequence[int]], shape: Sequence[int]
    ) -> Likeliest | None:
        if self.soft is None:
            return None
        _, width, length = shape
        return self.soft.of(views.tolist(), self.text_numbers(rows, chosen, width), length)

    def _order(self, epoch: int) -> np.ndarray:
        """Photos of an epoch: shuffled, with like numbers of texts side by side within windows of 16 batches."""
        if self._epoch_order[0] == epoch:
            return self._epoch_order[1]
        draw = np.random.default_rng((self.seed, 0, epoch))
        order = draw.permutation(len(self.pool.texts))[: self.steps_per_epoch * self.batch_size]
        counts = np.array([min(len(self.pool.texts[row]), self.texts) for row in order])
        window = np.arange(len(order)) // (16 * self.batch_size)
        order = order[np.lexsort((counts, window))]
        batches = order.reshape(self.steps_per_epoch, self.batch_size)
        self._epoch_order = (epoch, batches[draw.permutation(self.steps_per_epoch)].reshape(-1))
        return self._epoch_order[1]

    def _draw(self, row: int, draw: np.random.Generator) -> list[int]:
        count = len(self.pool.texts[row])
        return sorted(draw.choice(count, min(count, self.texts), replace=False).tolist())

    def _empty_targets(self, tokens_BNT: Tensor) -> Tensor:
        if self.pool.kind == "captions":
            return torch.zeros_like(tokens_BNT)
        return torch.zeros(*tokens_BNT.shape[:2], self.num_answers if self.pool.kind == "questions" else 0)

    def _photo_numbers(self, rows: np.ndarray) -> Tensor:
        if self.store is None or self.pool.photo_ids is None:
            return torch.from_numpy(rows + UNSEEN_PHOTOS)
        return torch.tensor([self.store.row_of[self.pool.photo_ids[row]] for row in rows])

    def _regions(self, rows: np.ndarray, views: np.ndarray) -> tuple[Regions | None, Regions | None]:
        if self.store is None or self.pool.photo_ids is None:
            return None, None
        photo_ids = [self.pool.photo_ids[row] for row in rows]
        stores = (self.store, self.teacher_store)
        own, teacher = (None if store is None else store.regions(photo_ids, views.tolist()) for store in stores)
        return own, teacher


class ReferenceBatches(TextBatches):
    """Batches of a caption pool as references."""

    def batch(self, step: int) -> TextBatch:
        return replace(super().batch(step), kind="references")


class TextBatchSource(Protocol):
    def batch(self, step: int) -> TextBatch: ...


SourceT = TypeVar("SourceT", bound=TextBatchSource)


class MixedBatches(Generic[SourceT]):
    """Several sources in one training: each gives its number of steps, in an order drawn once from the seed."""

    def __init__(self, parts: Sequence[tuple[SourceT, int]], seed: int) -> None:
        self.sources = [source for source, _ in parts]
        kinds = np.repeat(np.arange(len(parts)), [steps for _, steps in parts])
        self.order = np.random.default_rng((seed, 2)).permutation(kinds)
        self.place = np.zeros(len(self.order), int)
        for kind in range(len(parts)):
            mine = self.order == kind
            self.place[mine] = np.arange(mine.sum())

    def __len__(self) -> int:
        return len(self.order)

    def batch(self, step: int) -> TextBatch:
        return self.sources[self.order[step]].batch(int(self.place[step]))
