"""Batches of OSCAR's pre-training in the dense layout."""

# Shapes: B photos, S = G * W places of tag tokens, T text tokens.
from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from distillvlm.data.text_batches import MixedBatches, TextBatch, TextBatches
from distillvlm.structures.regions import Regions


@dataclass(frozen=True)
class PretrainingBatch:
    """Texts of B photos, the photos' tags with some masked, and one text each that is theirs or another photo's.

    texts: where they are captions, every word is supervised by the words before it.
    tag_tokens, tag_targets: int64 [B, S]; the target is the token that was masked, 0 elsewhere.
    match_tokens, match_targets: int64 [B, 1, T], `[CLS] text [SEP]` with masked tokens where matched.
    matched: bool [B], whether the text is the photo's own.
    """

    texts: TextBatch
    tag_tokens: Tensor
    tag_targets: Tensor
    match_tokens: Tensor
    match_targets: Tensor
    matched: Tensor

    @property
    def regions(self) -> Regions | None:
        return self.texts.regions

    @property
    def teacher_regions(self) -> Regions | None:
        return self.texts.teacher_regions

    @property
    def photos(self) -> Tensor:
        return self.texts.photos

    def to(self, device: torch.device) -> PretrainingBatch:
        return PretrainingBatch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True)
class MaskTokens:
    """OSCAR's masking: 80% [MASK], 10% another token, 10% left alone.

    Called, it masks a captioner's number of tokens, min(max(round(0.15 n), 1), 3) of n; `by_chance` masks as BERT does.
    """

    mask: int
    first_word: int
    vocab_size: int

    def __call__(
        self, tokens: np.ndarray, allowed: np.ndarray, draw: np.random.Generator, length: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Masks among the allowed places of one text; returns tokens and targets (0 where nothing was masked).

        length: n, where it is not the number of allowed places.
        """
        places = np.flatnonzero(allowed)
        if not len(places):
            return tokens.copy(), np.zeros_like(tokens)
        count = min(max(round(0.15 * (length or len(places))), 1), 3, len(places))
        return self._mask(tokens, draw.choice(places, count, replace=False), draw)

    def by_chance(
        self, tokens: np.ndarray, allowed: np.ndarray, draw: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Masks each allowed place with chance 0.15."""
        return self._mask(tokens, np.flatnonzero(allowed & (draw.random(len(tokens)) < 0.15)), draw)

    def _mask(self, tokens: np.ndarray, places: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        masked, targets = tokens.copy(), np.zeros_like(tokens)
        for place in places:
            targets[place] = tokens[place]
            fate = draw.random()
            if fate < 0.8:
                masked[place] = self.mask
            elif fate < 0.9:
                masked[place] = draw.integers(self.first_word, self.vocab_size)
        return masked, targets


class PretrainingBatches:
    """Adds masked tags and matched or polluted texts to batches of texts.

    texts: captions and other texts of photos (`mix_sources`). tag_tokens: int64 [tag words, W], as in `Lexicon`.
    polluted_share: 0.5 in OSCAR.
    """

    def __init__(
        self,
        texts: MixedBatches[TextBatches],
        tag_tokens: Tensor,
        masking: MaskTokens,
        polluted_share: float,
        seed: int,
    ) -> None:
        if any(source.store is None or source.pool.kind == "questions" for source in texts.sources):
            raise ValueError("PretrainingBatches: expected captions or other texts of photos")
        self.texts, self.masking = texts, masking
        self.pad_id, self.sep_id = texts.sources[0].pad_id, texts.sources[0].sep_id
        self.tag_tokens = tag_tokens.numpy()
        self.polluted_share, self.seed = polluted_share, seed

    def batch(self, step: int) -> PretrainingBatch:
        texts = self.texts.batch(step)
        draw = np.random.default_rng((self.seed, 3, step))
        assert texts.regions is not None
        tags_BG = texts.regions.tags.numpy()
        tags_BGW = np.where(tags_BG[..., None] >= 0, self.tag_tokens[np.maximum(tags_BG, 0)], self.pad_id)
        tags = [self.masking(row, row != self.pad_id, draw) for row in tags_BGW.reshape(len(tags_BG), -1)]
        matched = draw.random(len(tags_BG)) >= self.polluted_share
        pairs = [self._text(texts, photo, bool(own), draw) for photo, own in enumerate(matched)]
        length = max(len(tokens) for tokens, _ in pairs)
        match = np.zeros((2, len(pairs), 1, length), np.int64)
        for row, (tokens, targets) in enumerate(pairs):
            match[0, row, 0, : len(tokens)] = tokens
            match[1, row, 0, : len(targets)] = targets
        return PretrainingBatch(
            texts,
            torch.from_numpy(np.stack([tokens for tokens, _ in tags])),
            torch.from_numpy(np.stack([targets for _, targets in tags])),
            torch.from_numpy(match[0]),
            torch.from_numpy(match[1]),
            torch.from_numpy(matched),
        )

    def _text(
        self, texts: TextBatch, photo: int, own: bool, draw: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """`[CLS] text [SEP]` of the photo with masked tokens, or of another photo of the batch without."""
        source = photo if own else (photo + int(draw.integers(1, len(texts.tokens)))) % len(texts.tokens)
        place = draw.choice(np.flatnonzero(texts.valid[source].numpy()))
        words = texts.tokens[source, place].numpy()
        tokens = words[words != self.pad_id]
        if texts.kind == "captions":  # whose [SEP] is a target and no token
            tokens = np.append(tokens, self.sep_id)
        if not own:
            return tokens, np.zeros_like(tokens)
        inner = np.ones(len(tokens), bool)
        inner[[0, -1]] = False
        return self.masking(tokens, inner, draw)
