"""Texts that are read with their photo's tags and regions as one sequence: [CLS] text [SEP] · tags · regions."""

# Shapes: B photos, N texts of a photo, T text tokens, C tag tokens, S tokens of a whole sequence.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Sequences:
    """What stands before the regions, for each text.

    text: int64 [B, N, T] at positions 0, 1, 2 .. tags: int64 [B, N, C]. tag_positions: int64 [B, N, C].
    causal: a captioner's mask (`captioning_mask`); else every token sees all others.
    """

    text: Tensor
    tags: Tensor
    tag_positions: Tensor
    causal: bool = False


def captioning_mask(text_length: int, length: int, device: torch.device | None = None) -> Tensor:
    """Who (rows) sees whom (columns), bool [S, S]: words those before them, words tags and regions, tags and regions
    each other and never a word.

    Source: Li et al. 2020, arXiv:2004.06165, section 4; https://github.com/microsoft/Oscar, oscar/run_captioning.py.
    """
    mask = torch.ones(length, length, dtype=torch.bool, device=device)
    mask[:text_length, :text_length] = mask[:text_length, :text_length].tril()
    mask[text_length:, :text_length] = False
    return mask


def pack_tags(tokens_BP: Tensor, length: int, pad: int, sep: int) -> Tensor:
    """Tags as OSCAR writes them: their pieces without gaps, as many as leave a place for [SEP], then [PAD]; [B, C]."""
    order = (tokens_BP == pad).int().argsort(dim=1, stable=True)
    packed_BC = tokens_BP.gather(1, order)[:, : length - 1]
    packed_BC = functional.pad(packed_BC, (0, length - packed_BC.shape[1]), value=pad)
    ends_B1 = (packed_BC != pad).sum(1, keepdim=True)
    return packed_BC.scatter(1, ends_B1, sep)
