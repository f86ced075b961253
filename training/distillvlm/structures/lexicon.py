"""Which token of a vocabulary is what."""

# Shapes: B photos, G tags, W WordPieces of a tag, V vocabulary.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lexicon:
    """Which token is what.

    tag_tokens: int64 [tag words, W], WordPieces of each tag word, 0 ([PAD]) where it has fewer than W.
    caption_mask: bool [V], true for the pieces that captions may use ([SEP] among them, no other special).
    """

    tag_tokens: Tensor
    caption_mask: Tensor
    pad: int = 0
    cls: int = 2
    sep: int = 3
    mask: int = 4


def pieces_of_tags(tags_BG: Tensor, tag_tokens: Tensor, pad: int) -> Tensor:
    """WordPieces of tag words: int64 [B, G * W], [PAD] where there is none. tag_tokens: see `Lexicon`."""
    tokens_BGW = tag_tokens[tags_BG.clamp(min=0)]
    return torch.where(tags_BG[..., None] >= 0, tokens_BGW, pad).flatten(1)
