"""Beam search over a cached prefix: the reference that `caption.onnx` has to equal."""

# Shapes: B photos, K beams, T steps run, S words so far, H heads, d = D / H, P prefix length, V vocabulary.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel

IMPOSSIBLE = -1e9


@dataclass(frozen=True)
class Captions:
    """K captions of each photo, best first.

    tokens: int64 [B, K, T], the words and [SEP], then [PAD]. log_probabilities: float32 [B, K, T], 0 at [PAD].
    attention: float32 [B, K, T, P], the last layer's attention of each step's query on the prefix, mean over heads,
        0 at [PAD].
    rank: float32 [B, K], sum of log-probabilities / length ** alpha.
    """

    tokens: Tensor
    log_probabilities: Tensor
    attention: Tensor
    rank: Tensor


@dataclass
class _Beams:
    """State of the search; `keys` and `values` are one tensor [B, H, K, S, d] for each layer."""

    tokens: Tensor
    log_probabilities: Tensor
    attention: Tensor
    total: Tensor
    rank: Tensor
    finished: Tensor
    keys: list[Tensor | None]
    values: list[Tensor | None]

    def reorder(self, parents_BK: Tensor) -> None:
        def pick(tensor: Tensor) -> Tensor:
            index = parents_BK.reshape(*parents_BK.shape, *[1] * (tensor.dim() - 2)).expand(-1, -1, *tensor.shape[2:])
            return tensor.gather(1, index)

        self.tokens, self.log_probabilities = pick(self.tokens), pick(self.log_probabilities)
        self.attention, self.finished = pick(self.attention), pick(self.finished)
        self.keys = [None if key is None else pick(key.transpose(1, 2)).transpose(1, 2) for key in self.keys]
        self.values = [None if value is None else pick(value.transpose(1, 2)).transpose(1, 2) for value in self.values]


@torch.no_grad()
def beam_search(
    model: VisionLanguageModel, prefix: Prefix, num_beams: int, max_tokens: int, length_penalty: float
) -> Captions:
    """Searches `num_beams` hypotheses for each photo.

    A hypothesis ranks by sum of log-probabilities / length ** `length_penalty`, [SEP] counted in both; candidates of a
    step are compared by it too. A finished hypothesis stays as one candidate with its rank. The search ends when all
    beams are finished, or after `max_tokens` steps (an unfinished hypothesis then has no [SEP]).
    """
    lexicon, batch = model.lexicon, len(prefix.mask)
    device = prefix.mask.device
    total = torch.full((batch, num_beams), IMPOSSIBLE, device=device)
    total[:, 0] = 0  # all beams are the same at first, so only one may have children
    beams = _Beams(
        tokens=torch.zeros(batch, num_beams, 0, dtype=torch.long, device=device),
        log_probabilities=torch.zeros(batch, num_beams, 0, device=device),
        attention=torch.zeros(batch, num_beams, 0, prefix.mask.shape[1], device=device),
        total=total,
        rank=total.clone(),
        finished=torch.zeros(batch, num_beams, dtype=torch.bool, device=device),
        keys=[None] * model.config.num_layers,
        values=[None] * model.config.num_layers,
    )
    last = torch.full((batch, num_beams), lexicon.cls, device=device)
    for step in range(1, max_tokens + 1):
        logits_BKV, attention_BKP = _step(model, prefix, beams, last, step)
        last = _advance(beams, logits_BKV.log_softmax(-1), attention_BKP, step, length_penalty, lexicon.sep)
        if bool(beams.finished.all()):
            break
    return Captions(beams.tokens, beams.log_probabilities, beams.attention, beams.rank)


def _step(
    model: VisionLanguageModel, prefix: Prefix, beams: _Beams, last_BK: Tensor, step: int
) -> tuple[Tensor, Tensor]:
    """Feeds [last word, MASK] of each beam; returns the query's logits [B, K, V] and attention [B, K, P]."""
    tokens_BK2 = torch.stack([last_BK, torch.full_like(last_BK, model.lexicon.mask)], dim=-1)
    hidden = model.embed_text(tokens_BK2, torch.tensor([step - 1, step], device=last_BK.device), token_type=0)
    mask = torch.ones(2, step + 1, dtype=torch.bool, device=last_BK.device)
    mask[0, -1] = False  # the word does not see the query
    attention = hidden.new_zeros(0)
    for index, layer in enumerate(model.encoder_layers):
        hidden, key, value, attention = layer.text(
            hidden,
            prefix.keys[:, index],
            prefix.values[:, index],
            prefix.mask,
            mask,
            beams.keys[index],
            beams.values[index],
        )
        beams.keys[index] = _append(beams.keys[index], key[:, :, :, :1])
        beams.values[index] = _append(beams.values[index], value[:, :, :, :1])
    query_attention = attention[:, :, :, 1, : prefix.mask.shape[1]].float().mean(1)
    return model.caption_logits(hidden[:, :, 1]), query_attention


def _advance(
    beams: _Beams,
    log_probabilities_BKV: Tensor,
    attention_BKP: Tensor,
    step: int,
    length_penalty: float,
    sep: int,
) -> Tensor:
    """Keeps the K best of all continuations; returns their last tokens [B, K]."""
    _, num_beams, vocabulary = log_probabilities_BKV.shape
    rank_BKV = (beams.total[..., None] + log_probabilities_BKV) / step**length_penalty
    stay = torch.full((vocabulary,), IMPOSSIBLE * 10, device=rank_BKV.device)
    stay[0] = 0  # a finished beam has one continuation, [PAD], that changes nothing
    rank_BKV = torch.where(beams.finished[..., None], beams.rank[..., None] + stay, rank_BKV)
    beams.rank, index_BK = rank_BKV.flatten(1).topk(num_beams, dim=1)
    parents_BK, tokens_BK = index_BK // vocabulary, index_BK % vocabulary
    attention_BKP = attention_BKP.masked_fill(beams.finished[..., None], 0)
    beams.attention = torch.cat([beams.attention, attention_BKP[:, :, None]], dim=2)
    beams.reorder(parents_BK)
    chosen_BK = log_probabilities_BKV.flatten(1).gather(1, index_BK).masked_fill(beams.finished, 0)
    beams.total = beams.total.gather(1, parents_BK) + chosen_BK
    beams.tokens = torch.cat([beams.tokens, tokens_BK[..., None]], dim=2)
    beams.log_probabilities = torch.cat([beams.log_probabilities, chosen_BK[..., None]], dim=2)
    beams.finished = beams.finished | (tokens_BK == sep)
    return tokens_BK


def _append(cache: Tensor | None, new: Tensor) -> Tensor:
    return new if cache is None else torch.cat([cache, new], dim=3)
