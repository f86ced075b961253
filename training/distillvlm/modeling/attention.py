"""BERT's encoder layer, split at the seam of the dense layout: a prefix encoded once, texts that look back at it."""

# Shapes: B photos, P prefix length, N texts of a photo, T text tokens, S cached tokens, H heads, d = D / H.
from __future__ import annotations

import torch
from torch import Tensor, nn

MASKED_SCORE = -1e4  # exp(-1e4) is 0 in every float type, and it fits in bf16 and fp16


class EncoderLayer(nn.Module):
    """One post-LN transformer layer with BERT's parameters, used in two ways.

    `prefix` is BERT's layer as it is. `text` is the same layer for tokens that see a prefix whose keys and values are
    known, and one another by a mask; since no prefix position sees a text, both together equal one BERT layer over
    [prefix, text] under that block mask.

    Source: Devlin et al. 2019, arXiv:1810.04805; tested against Hugging Face's BertLayer.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.attention_output = nn.Linear(hidden_size, hidden_size)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.intermediate = nn.Linear(hidden_size, intermediate_size)
        self.output = nn.Linear(intermediate_size, hidden_size)
        self.output_norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.attention_dropout = nn.Dropout(attention_dropout)

    def prefix(self, hidden_BPD: Tensor, mask_BP: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prefix positions see each other where `mask_BP`.

        Returns the next hidden states [B, P, D], keys and values [B, H, P, d] and attention probabilities
        [B, H, P, P] (before dropout).
        """
        query, key, value = (self._heads(linear(hidden_BPD)) for linear in (self.query, self.key, self.value))
        scores_BHPP = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
        scores_BHPP = scores_BHPP.masked_fill(~mask_BP[:, None, None, :], MASKED_SCORE)
        attention_BHPP = scores_BHPP.softmax(-1)
        context_BHPd = self.attention_dropout(attention_BHPP) @ value
        return self._finish(hidden_BPD, context_BHPd.transpose(1, 2).flatten(2)), key, value, attention_BHPP

    def text(
        self,
        hidden_BNTD: Tensor,
        prefix_keys_BHPd: Tensor,
        prefix_values_BHPd: Tensor,
        prefix_mask_BP: Tensor,
        text_mask: Tensor,
        cached_keys_BHNSd: Tensor | None = None,
        cached_values_BHNSd: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Texts see their photo's prefix, and their own tokens where `text_mask` (broadcast to [B, 1, N, T, S + T]).

        The texts of a photo are folded into the query axis, so its keys and values exist once.
        Returns the next hidden states [B, N, T, D], keys and values of the text [B, H, N, T, d] without the cached
        ones, and attention probabilities [B, H, N, T, P + S + T] (before dropout).
        """
        _, texts, tokens, _ = hidden_BNTD.shape
        query, key, value = (self._text_heads(linear(hidden_BNTD)) for linear in (self.query, self.key, self.value))
        own_keys, own_values = key, value
        if cached_keys_BHNSd is not None and cached_values_BHNSd is not None:
            own_keys = torch.cat([cached_keys_BHNSd, key], dim=3)
            own_values = torch.cat([cached_values_BHNSd, value], dim=3)
        query = query * query.shape[-1] ** -0.5
        prefix_scores = query.flatten(2, 3) @ prefix_keys_BHPd.transpose(-1, -2)
        prefix_scores = prefix_scores.masked_fill(~prefix_mask_BP[:, None, None, :], MASKED_SCORE)
        text_scores = (query @ own_keys.transpose(-1, -2)).masked_fill(~text_mask, MASKED_SCORE)
        prefix_length = prefix_keys_BHPd.shape[2]
        prefix_scores = prefix_scores.unflatten(2, (texts, tokens))
        attention = torch.cat([prefix_scores, text_scores], dim=-1).softmax(-1)
        dropped = self.attention_dropout(attention)
        context = (dropped[..., :prefix_length].flatten(2, 3) @ prefix_values_BHPd).unflatten(2, (texts, tokens))
        context_BHNTd = context + dropped[..., prefix_length:] @ own_values
        context_BNTD = context_BHNTd.permute(0, 2, 3, 1, 4).flatten(3)
        return self._finish(hidden_BNTD, context_BNTD), key, value, attention

    def _heads(self, projected_BPD: Tensor) -> Tensor:
        return projected_BPD.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _text_heads(self, projected_BNTD: Tensor) -> Tensor:
        return projected_BNTD.unflatten(-1, (self.num_heads, -1)).permute(0, 3, 1, 2, 4)

    def _finish(self, hidden: Tensor, context: Tensor) -> Tensor:
        hidden = self.attention_norm(hidden + self.dropout(self.attention_output(context)))
        expanded = nn.functional.gelu(self.intermediate(hidden))
        return self.output_norm(hidden + self.dropout(self.output(expanded)))
