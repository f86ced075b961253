"""A frozen model in the dense layout that encodes each photo and each text once, however often batches bring them."""

# Shapes: B photos, N texts of a photo, T text tokens, P prefix length, H heads, D hidden.
# A text of L tokens has S states: a question's L, a caption's 2 L (words, then queries); parts: S / L.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from distillvlm.modeling.vision_language import Prefix, TextStates, VisionLanguageModel
from distillvlm.structures.regions import Regions


@dataclass(frozen=True)
class KnownPrefix(Prefix):
    """A prefix without keys and values: texts that are new are encoded over their photos' `regions`.

    names: of the photos, by what their regions hold.
    """

    regions: Regions
    names: tuple[bytes, ...]


@dataclass(frozen=True)
class _Photo:
    """hidden: fp16 [P, D]. attention: fp16 [H, P, P]. mask: bool [P]."""

    hidden: Tensor
    attention: Tensor
    mask: Tensor


@dataclass(frozen=True)
class _Text:
    """hidden: fp16 [parts, L, D]. on_prefix: fp16 [H, parts, L, P]. on_text: fp16 [H, parts, L, parts, L]."""

    hidden: Tensor
    on_prefix: Tensor
    on_text: Tensor


class EncodedOnce:
    """Stands in for a frozen `VisionLanguageModel` in eval mode, whose outputs it keeps, in fp16, by content.

    Padding comes out as zeros. Photos with masked tags, texts without photos and sequences of OSCAR's layout are passed
    on. A teacher of 6 layers costs a distilled step more than its student does; kept, it costs that once for each text
    and not in every epoch. Kept are 2 D + 2 H (P + S) bytes for each state.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self._photos: dict[bytes, _Photo] = {}
        self._texts: dict[tuple[bytes, bytes], _Text] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_prefix(self, regions: Regions, tag_tokens: Tensor | None = None, first_position: int = 0) -> Prefix:
        if tag_tokens is not None:
            return self._model.encode_prefix(regions, tag_tokens, first_position)
        names = _names(regions)
        new = [row for row, name in enumerate(names) if name not in self._photos]
        if new:
            prefix = self._model.encode_prefix(regions[torch.tensor(new)])
            for place, row in enumerate(new):
                self._photos[names[row]] = _Photo(
                    _kept(prefix.hidden[place]), _kept(prefix.attention[place]), prefix.mask[place].clone()
                )
        known = [self._photos[name] for name in names]
        nothing = regions.features.new_zeros(len(names), 0)
        hidden = torch.stack([one.hidden.float() for one in known])
        attention = torch.stack([one.attention.float() for one in known])
        mask = torch.stack([one.mask for one in known])
        return KnownPrefix(nothing, nothing, mask, hidden, attention, regions, names)

    def encode_captions(self, prefix: Prefix, words_BNT: Tensor) -> TextStates:
        return self._encode(self._model.encode_captions, prefix, words_BNT, parts=2)

    def encode_questions(self, prefix: Prefix, tokens_BNT: Tensor) -> TextStates:
        return self._encode(self._model.encode_questions, prefix, tokens_BNT, parts=1)

    def _encode(
        self, encode: Callable[[Prefix, Tensor], TextStates], prefix: Prefix, tokens_BNT: Tensor, parts: int
    ) -> TextStates:
        if not isinstance(prefix, KnownPrefix):
            return encode(prefix, tokens_BNT)
        rows = _without_padding(tokens_BNT, self._model.lexicon.pad)
        names = [
            [(photo, bytes([parts]) + text.numpy().tobytes()) for text in texts]
            for photo, texts in zip(prefix.names, rows, strict=True)
        ]
        self._learn(encode, prefix, rows, names, parts)
        batch, texts, length = tokens_BNT.shape
        _, heads, places, _ = prefix.attention.shape
        hidden = prefix.hidden.new_zeros(batch, texts, parts, length, prefix.hidden.shape[-1])
        on_prefix = hidden.new_zeros(batch, heads, texts, parts, length, places)
        on_text = hidden.new_zeros(batch, heads, texts, parts, length, parts, length)
        for b in range(batch):
            for n in range(texts):
                size = len(rows[b][n])
                if size:
                    known = self._texts[names[b][n]]
                    hidden[b, n, :, :size] = known.hidden
                    on_prefix[b, :, n, :, :size] = known.on_prefix
                    on_text[b, :, n, :, :size, :, :size] = known.on_text
        attention = torch.cat([on_prefix.flatten(3, 4), on_text.flatten(5, 6).flatten(3, 4)], dim=-1)
        return TextStates(hidden.flatten(2, 3), attention)

    def _learn(
        self,
        encode: Callable[[Prefix, Tensor], TextStates],
        prefix: KnownPrefix,
        rows: list[list[Tensor]],
        names: list[list[tuple[bytes, bytes]]],
        parts: int,
    ) -> None:
        """Encodes the texts that are new, over the prefixes of their photos."""
        new = [
            (b, [n for n, name in enumerate(texts) if len(rows[b][n]) and name not in self._texts])
            for b, texts in enumerate(names)
        ]
        new = [(b, texts) for b, texts in new if texts]
        if not new:
            return
        width, length = max(len(texts) for _, texts in new), max(len(rows[b][n]) for b, texts in new for n in texts)
        tokens = torch.full((len(new), width, length), self._model.lexicon.pad)
        for place, (b, texts) in enumerate(new):
            for column, n in enumerate(texts):
                tokens[place, column, : len(rows[b][n])] = rows[b][n]
        photos = prefix.regions[torch.tensor([b for b, _ in new])]
        states = encode(self._model.encode_prefix(photos), tokens.to(prefix.hidden.device))
        hidden = states.hidden.unflatten(2, (parts, length))
        places = prefix.mask.shape[1]
        attention = states.attention.unflatten(3, (parts, length))
        on_prefix, on_text = attention[..., :places], attention[..., places:].unflatten(-1, (parts, length))
        for place, (b, texts) in enumerate(new):
            for column, n in enumerate(texts):
                size = len(rows[b][n])
                self._texts[names[b][n]] = _Text(
                    _kept(hidden[place, column, :, :size]),
                    _kept(on_prefix[place, :, column, :, :size]),
                    _kept(on_text[place, :, column, :, :size, :, :size]),
                )


def _kept(part: Tensor) -> Tensor:
    """In memory of its own, so that the batch that it is a part of can go."""
    return part.to(torch.float16, copy=True)


def _names(regions: Regions) -> tuple[bytes, ...]:
    columns = [getattr(regions, field.name).cpu().contiguous().numpy() for field in fields(regions)]
    return tuple(
        blake2b(b"".join(column[row].tobytes() for column in columns), digest_size=16).digest()
        for row in range(len(regions))
    )


def _without_padding(tokens_BNT: Tensor, pad: int) -> list[list[Tensor]]:
    tokens_BNT = tokens_BNT.cpu()
    lengths = (tokens_BNT != pad).sum(-1).tolist()
    return [
        [text[:size] for text, size in zip(texts, sizes, strict=True)]
        for texts, sizes in zip(tokens_BNT, lengths, strict=True)
    ]
