"""How a text and its photo come before the transformer: densely, or as OSCAR published it.

Dense: tags and regions are encoded once and texts look back at them (`VisionLanguageModel`). OSCAR: one sequence of
text, tags and regions for each text. Where no tag and no region sees the text, both are one computation.
"""

# Shapes: B photos, N texts of a photo, T text tokens, C tag tokens, R regions, S = T + C + R.
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from distillvlm.modeling.vision_language import Prefix, TextStates, VisionLanguageModel
from distillvlm.structures.regions import Regions
from distillvlm.structures.sequences import Sequences, captioning_mask, pack_tags

QuestionAttention = Literal["prefix", "full"]


class Layout(Protocol):
    """What inference needs of a layout; training has an objective and batches for each."""

    def encode_photos(self, model: VisionLanguageModel, regions: Regions) -> Prefix:
        """The prefix over which captions are generated."""
        ...

    def encode_questions(self, model: VisionLanguageModel, regions: Regions, questions_BNT: Tensor) -> TextStates:
        """`[CLS] question [SEP]`, padded -> states whose first is that of [CLS]."""
        ...


@dataclass(frozen=True)
class DenseLayout:
    """question_attention: tags and regions see the question ("full") or only each other ("prefix")."""

    question_attention: QuestionAttention = "prefix"

    def encode_photos(self, model: VisionLanguageModel, regions: Regions) -> Prefix:
        return model.encode_prefix(regions)

    def encode_questions(self, model: VisionLanguageModel, regions: Regions, questions_BNT: Tensor) -> TextStates:
        if self.question_attention == "prefix":
            return model.encode_questions(model.encode_prefix(regions), questions_BNT)
        return encode_sequences(model, dense_sequences(questions_BNT, model.tokens_of_tags(regions.tags)), regions)


@dataclass(frozen=True)
class OscarLayout:
    """Captions have `text_length` places, at which their tags' positions begin; those of other texts follow the text.

    tags_length: pieces of the tags with their [SEP]. Places that nobody fills are left out of a batch: no token sees
    padding, so all that they change is the tags' positions.
    """

    text_length: int = 40
    tags_length: int = 30

    def encode_photos(self, model: VisionLanguageModel, regions: Regions) -> Prefix:
        return model.encode_prefix(regions, self.tags_of(model, regions), self.text_length)

    def encode_questions(self, model: VisionLanguageModel, regions: Regions, questions_BNT: Tensor) -> TextStates:
        tags_BNC = _repeat(self.tags_of(model, regions), questions_BNT.shape[1])
        return encode_sequences(model, self.sequences(questions_BNT, tags_BNC, model.lexicon.pad), regions)

    def tags_of(self, model: VisionLanguageModel, regions: Regions) -> Tensor:
        lexicon = model.lexicon
        return pack_tags(model.tokens_of_tags(regions.tags), self.tags_length, lexicon.pad, lexicon.sep)

    def sequences(self, text_BNT: Tensor, tags_BNC: Tensor, pad: int, captions: bool = False) -> Sequences:
        """
        Raises:
            ValueError: captions are longer than `text_length`.
        """
        if captions and text_BNT.shape[-1] > self.text_length:
            raise ValueError(f"captions: expected at most {self.text_length} tokens but received {text_BNT.shape[-1]}")
        ends_BN1 = (text_BNT != pad).sum(-1, keepdim=True)
        first = torch.full_like(ends_BN1, self.text_length) if captions else ends_BN1
        places_C = torch.arange(tags_BNC.shape[-1], device=tags_BNC.device)
        return Sequences(text_BNT, tags_BNC, first + places_C, captions)


def dense_sequences(text_BNT: Tensor, tags_BC: Tensor) -> Sequences:
    """The same text and tags as in the dense layout, at the same positions, all seeing each other."""
    tags_BNC = _repeat(tags_BC, text_BNT.shape[1])
    return Sequences(text_BNT, tags_BNC, torch.arange(tags_BC.shape[1], device=tags_BC.device).expand_as(tags_BNC))


def encode_sequences(model: VisionLanguageModel, sequences: Sequences, regions: Regions) -> TextStates:
    """Hidden states [B, N, S, D] and attention [B, H, N, S, S] of text, tags and regions."""
    text_length = sequences.text.shape[-1]
    text = model.embed_text(sequences.text, torch.arange(text_length, device=sequences.text.device), token_type=0)
    tags = model.embed_text(sequences.tags, sequences.tag_positions, token_type=1)
    regions_BNRD = _repeat(model.embed_regions(regions), sequences.text.shape[1])
    hidden_BNSD = torch.cat([text, tags, regions_BNRD.to(text.dtype)], dim=2)
    mask = present_tokens(model, sequences, regions)[:, None, :, None, :]
    if sequences.causal:
        mask = mask & captioning_mask(text_length, hidden_BNSD.shape[2], hidden_BNSD.device)
    return model.encode_embedded(model.no_prefix(len(hidden_BNSD)), hidden_BNSD, mask)


def present_tokens(model: VisionLanguageModel, sequences: Sequences, regions: Regions) -> Tensor:
    """Bool [B, N, S], false at padding."""
    valid_BNR = _repeat(regions.valid, sequences.text.shape[1])
    pad = model.lexicon.pad
    return torch.cat([sequences.text != pad, sequences.tags != pad, valid_BNR], dim=-1)


def _repeat(of_photo: Tensor, texts: int) -> Tensor:
    """[B, ...] -> [B, N, ...], the same for each text."""
    return of_photo[:, None].expand(-1, texts, *of_photo.shape[1:])
