"""Captions over a cached prefix: beam search, the reference that `caption.onnx` has to equal, and sampling."""

# Shapes: B photos, K beams, T steps run, S words so far, H heads, d = D / H, P prefix length, V vocabulary.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel

IMPOSSIBLE = -1e9


@dataclass(frozen=True)
class Captions:
    """K captions of each photo: of a search best first, of sampling as drawn.

    tokens: int64 [B, K, T], the words and [SEP], then [PAD]. log_probabilities: float32 [B, K, T], 0 at [PAD].
    attention: float32 [B, K, T, P], the last layer's attention of each step's query on the prefix, mean over heads,
        0 at [PAD].
    rank: float32 [B, K], sum of log-probabilities / length ** alpha (alpha 0 in sampling).
    """

    tokens: Tensor
    log_probabilities: Tensor
    attention: Tensor
    rank: Tensor


@dataclass
class _Beams:
    """State of a search or of sampling; `keys` and `values` are one tensor [B, H, K, S, d] for each layer."""

    tokens: Tensor
    log_probabilities: Tensor
    attention: Tensor
    total: Tensor
    rank: Tensor
    finished: Tensor
    keys: list[Tensor | None]
    values: list[Tensor | None]

    def reorder(self, parents_BK: Tensor) -> None:
        self.tokens, self.log_probabilities = _pick(self.tokens, parents_BK), _pick(self.log_probabilities, parents_BK)
        self.attention, self.finished = _pick(self.attention, parents_BK), _pick(self.finished, parents_BK)
        self.total = _pick(self.total, parents_BK)
        self.keys = [_pick_cached(key, parents_BK) for key in self.keys]
        self.values = [_pick_cached(value, parents_BK) for value in self.values]

    def append(self, tokens_BK: Tensor, log_probabilities_BK: Tensor, attention_BKP: Tensor, sep: int) -> None:
        """Puts a token behind each hypothesis; what comes behind a finished one ([PAD]) has no weight."""
        log_probabilities_BK = log_probabilities_BK.masked_fill(self.finished, 0)
        attention_BKP = attention_BKP.masked_fill(self.finished[..., None], 0)
        self.total = self.total + log_probabilities_BK
        self.tokens = torch.cat([self.tokens, tokens_BK[..., None]], dim=2)
        self.log_probabilities = torch.cat([self.log_probabilities, log_probabilities_BK[..., None]], dim=2)
        self.attention = torch.cat([self.attention, attention_BKP[:, :, None]], dim=2)
        self.finished = self.finished | (tokens_BK == sep)


@torch.no_grad()
def beam_search(
    model: VisionLanguageModel, prefix: Prefix, num_beams: int, max_tokens: int, length_penalty: float
) -> Captions:
    """Searches `num_beams` hypotheses for each photo.

    A hypothesis ranks by sum of log-probabilities / length ** `length_penalty`, [SEP] counted in both; candidates of a
    step are compared by it too. A finished hypothesis stays as one candidate with its rank. The search ends when all
    beams are finished, or after `max_tokens` steps (an unfinished hypothesis then has no [SEP]).
    """
    beams, last_BK = _start(model, prefix, num_beams)
    beams.total[:, 1:] = IMPOSSIBLE  # all beams are the same at first, so only one may have children
    beams.rank = beams.total.clone()
    for step in range(1, max_tokens + 1):
        logits_BKV, attention_BKP = _step(model, prefix, beams, last_BK, step)
        last_BK = _advance(beams, logits_BKV.log_softmax(-1), attention_BKP, step, length_penalty, model.lexicon.sep)
        if bool(beams.finished.all()):
            break
    return Captions(beams.tokens, beams.log_probabilities, beams.attention, beams.rank)


@torch.no_grad()
def sample_captions(
    model: VisionLanguageModel, prefix: Prefix, num_samples: int, max_tokens: int, temperature: float = 1.0
) -> Captions:
    """Draws `num_samples` captions of each photo, every token from the model's own distribution.

    temperature: logits are divided by it; below 1 the likely words are drawn more often than the model says. The
    captions' log-probabilities are those of the distribution that they are drawn from.
    Sampling ends when all captions have drawn [SEP], or after `max_tokens` steps. torch's generator is drawn from.

    Raises:
        ValueError: `temperature` is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"Expected a positive temperature but received {temperature}")
    beams, last_BK = _start(model, prefix, num_samples)
    for step in range(1, max_tokens + 1):
        logits_BKV, attention_BKP = _step(model, prefix, beams, last_BK, step)
        log_probabilities_BKV = (logits_BKV / temperature).log_softmax(-1)
        drawn_BK = log_probabilities_BKV.exp().flatten(0, 1).multinomial(1).view_as(last_BK)
        chosen_BK = log_probabilities_BKV.gather(-1, drawn_BK[..., None]).squeeze(-1)
        last_BK = drawn_BK.masked_fill(beams.finished, model.lexicon.pad)
        beams.append(last_BK, chosen_BK, attention_BKP, model.lexicon.sep)
        if bool(beams.finished.all()):
            break
    return Captions(beams.tokens, beams.log_probabilities, beams.attention, beams.total)


def _start(model: VisionLanguageModel, prefix: Prefix, num_beams: int) -> tuple[_Beams, Tensor]:
    """Hypotheses without a word, and the [CLS] [B, K] that each begins with."""
    batch, prefix_length = prefix.mask.shape
    total = torch.zeros(batch, num_beams, device=prefix.mask.device)
    last_BK = torch.full((batch, num_beams), model.lexicon.cls, device=total.device)
    beams = _Beams(
        tokens=last_BK.new_zeros(batch, num_beams, 0),
        log_probabilities=total.new_zeros(batch, num_beams, 0),
        attention=total.new_zeros(batch, num_beams, 0, prefix_length),
        total=total,
        rank=total.clone(),
        finished=torch.zeros_like(total, dtype=torch.bool),
        keys=[None] * model.config.num_layers,
        values=[None] * model.config.num_layers,
    )
    return beams, last_BK


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
    beams.reorder(parents_BK)
    chosen_BK = log_probabilities_BKV.flatten(1).gather(1, index_BK)
    beams.append(tokens_BK, chosen_BK, _pick(attention_BKP, parents_BK), sep)
    return tokens_BK


def _append(cache: Tensor | None, new: Tensor) -> Tensor:
    return new if cache is None else torch.cat([cache, new], dim=3)


def _pick(tensor: Tensor, parents_BK: Tensor) -> Tensor:
    """tensor[b, parents[b, k]] for any trailing dimensions."""
    index = parents_BK.reshape(*parents_BK.shape, *[1] * (tensor.dim() - 2)).expand(-1, -1, *tensor.shape[2:])
    return tensor.gather(1, index)


def _pick_cached(cache: Tensor | None, parents_BK: Tensor) -> Tensor | None:
    return None if cache is None else _pick(cache.transpose(1, 2), parents_BK).transpose(1, 2)
