"""Batches of texts -> batches of OSCAR's layout: each text with its photo's tags behind it, and a few tokens masked."""

# Shapes: B photos, N texts of a photo, T text tokens, C tag tokens, A answers.
from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from distillvlm.data.pretraining_batches import MaskTokens
from distillvlm.data.text_batches import TextBatch, TextBatchSource
from distillvlm.structures.lexicon import Lexicon, pieces_of_tags
from distillvlm.structures.regions import Regions
from distillvlm.structures.sequences import pack_tags

OscarKind = Literal["captions", "questions", "pretraining"]


@dataclass(frozen=True)
class OscarBatch:
    """B photos with N texts each, as `[CLS] text [SEP]` and `tags [SEP]`, both padded.

    text: int64 [B, N, T]. tags: int64 [B, N, C], of another photo where not `matched`.
    targets: int64 [B, N, T + C], the token that was masked, 0 elsewhere; none in questions.
    answers: float32 [B, N, A], soft scores; A = 0 but for questions.
    matched: bool [B, N]. valid: bool [B, N], false for texts that only fill up a photo's row.
    regions, teacher_regions, photos: as in `TextBatch`. soft: none, whose texts are not masked.
    """

    kind: OscarKind
    regions: Regions
    teacher_regions: Regions | None
    text: Tensor
    tags: Tensor
    targets: Tensor
    answers: Tensor
    matched: Tensor
    valid: Tensor
    photos: Tensor
    soft: None = None

    def to(self, device: torch.device) -> OscarBatch:
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in values.items() if hasattr(value, "to")})


class OscarBatches:
    """Lays out batches of texts; what is masked and polluted depends on (seed, step) alone.

    texts: captions and questions in fine-tuning, any texts in pre-training; all of photos. tags_length: C.
    polluted_share: makes it pre-training, in which so many texts stand beside another photo's tags (0.5 in OSCAR), and
    text and tags of the others are masked as BERT does. None: fine-tuning, in which captions alone are masked, their
    [SEP] included.

    Source: https://github.com/microsoft/Oscar, oscar/run_captioning.py, oscar/run_vqa.py, oscar/datasets/oscar_tsv.py.
    """

    def __init__(
        self,
        texts: TextBatchSource,
        lexicon: Lexicon,
        tags_length: int,
        seed: int,
        polluted_share: float | None = None,
    ) -> None:
        self.texts, self.lexicon, self.tags_length = texts, lexicon, tags_length
        self.masking = MaskTokens(lexicon.mask, lexicon.mask + 1, len(lexicon.caption_mask))
        self.seed, self.polluted_share = seed, polluted_share

    def batch(self, step: int) -> OscarBatch:
        texts = self.texts.batch(step)
        if texts.regions is None:
            raise ValueError("OscarBatches: expected texts of photos")
        draw = np.random.default_rng((self.seed, 4, step))
        kind = self._kind(texts)
        matched_BN = self._matched(texts, draw)
        text_BNT = _whole_texts(texts).numpy()
        tokens = np.concatenate([text_BNT, self._tags(texts.regions, matched_BN, draw)], axis=-1)
        targets = np.zeros_like(tokens)
        for place in np.argwhere(texts.valid.numpy() & matched_BN) if kind != "questions" else ():
            row = tuple(place)
            tokens[row], targets[row] = self._mask(kind, tokens[row], text_BNT[row], draw)
        text, tags = torch.from_numpy(tokens).split([text_BNT.shape[-1], self.tags_length], dim=-1)
        return OscarBatch(
            kind,
            texts.regions,
            texts.teacher_regions,
            text,
            tags,
            torch.from_numpy(targets),
            texts.targets if kind == "questions" else torch.zeros(*texts.valid.shape, 0),
            torch.from_numpy(matched_BN),
            texts.valid,
            texts.photos,
        )

    def _kind(self, texts: TextBatch) -> OscarKind:
        if self.polluted_share is not None:
            return "pretraining"
        if texts.kind == "texts" or texts.kind == "references":
            raise ValueError("OscarBatches: expected captions or questions in fine-tuning")
        return texts.kind

    def _matched(self, texts: TextBatch, draw: np.random.Generator) -> np.ndarray:
        return draw.random(texts.valid.shape) >= (self.polluted_share or 0.0)

    def _tags(self, regions: Regions, matched_BN: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Tags [B, N, C] of each text's own photo, or of another one of the batch."""
        lexicon = self.lexicon
        pieces_BS = pieces_of_tags(regions.tags, lexicon.tag_tokens, lexicon.pad)
        tags_BC = pack_tags(pieces_BS, self.tags_length, lexicon.pad, lexicon.sep).numpy()
        photos = len(tags_BC)
        own_B1 = np.arange(photos)[:, None]
        if matched_BN.all():
            return tags_BC[np.broadcast_to(own_B1, matched_BN.shape)]
        others_BN = (own_B1 + draw.integers(1, photos, matched_BN.shape)) % photos
        return tags_BC[np.where(matched_BN, own_B1, others_BN)]

    def _mask(
        self, kind: OscarKind, tokens: np.ndarray, text: np.ndarray, draw: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Masks one text with its tags. A caption's number of masked tokens counts its [CLS] in, as OSCAR does."""
        if kind == "pretraining":
            special = (tokens == self.lexicon.pad) | (tokens == self.lexicon.cls) | (tokens == self.lexicon.sep)
            return self.masking.by_chance(tokens, ~special, draw)
        length = int((text != self.lexicon.pad).sum())
        places = np.arange(len(tokens))
        return self.masking(tokens, (places > 0) & (places < length), draw, length)


def _whole_texts(texts: TextBatch) -> Tensor:
    """`[CLS] text [SEP]`: of captions, [SEP] and the last word stand among the targets only."""
    if texts.kind != "captions":
        return texts.tokens
    return torch.cat([texts.tokens[..., :1], texts.targets], dim=-1)
