"""The vision-language transformer, teacher and student alike; its own methods are the dense layout's."""

# Shapes: B photos, R regions, F feature size, G tags, W WordPieces of a tag, P = G * W + R prefix length, N texts of a
# photo, T text tokens, D hidden size, L layers, H heads, d = D / H, V vocabulary, A answers.
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from distillvlm.modeling.attention import EncoderLayer
from distillvlm.structures.lexicon import Lexicon, pieces_of_tags
from distillvlm.structures.regions import Regions, box_geometry


@dataclass(frozen=True)
class VisionLanguageConfig:
    """Sizes of the transformer. `attention_dropout` is 0 since drawing its masks is a fifth of a step on a CPU.

    region_norm: a LayerNorm behind the projection of the regions (VinVL has it, OSCAR has not).
    tied_words: the word head shares the word embedding's matrix (OSCAR's fine-tuned captioners have one of their own).
    """

    vocab_size: int
    num_answers: int
    region_feature_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int = 72  # 70 tokens of a question with [CLS] and [SEP]; 64 are promised
    dropout: float = 0.1
    attention_dropout: float = 0.0
    region_norm: bool = True
    tied_words: bool = True


@dataclass(frozen=True)
class Prefix:
    """Tags and regions of B photos, encoded.

    keys, values: [B, L, H, P, d]. mask: bool [B, P]. hidden: last hidden states [B, P, D].
    attention: probabilities of the last layer [B, H, P, P].
    """

    keys: Tensor
    values: Tensor
    mask: Tensor
    hidden: Tensor
    attention: Tensor


@dataclass(frozen=True)
class TextStates:
    """Texts after the last layer: hidden [B, N, T, D] and attention probabilities [B, H, N, T, P + T]."""

    hidden: Tensor
    attention: Tensor


def caption_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Who sees whom among `length` words ([CLS] first) followed by as many [MASK] queries; bool [2 length, 2 length].

    A word sees itself and the words before it. Query i, which stands at position i + 1, sees words 0..i and itself,
    as a step of generation does.
    """
    words = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    top = torch.cat([words, torch.zeros_like(words)], dim=1)
    bottom = torch.cat([words, torch.eye(length, dtype=torch.bool, device=device)], dim=1)
    return torch.cat([top, bottom])


class VisionLanguageModel(nn.Module):
    """BERT over [tags, regions] (the prefix) and texts that see it; the prefix never sees a text.

    Source: Li et al. 2020 (OSCAR), arXiv:2004.06165, for inputs and captioning mask; the dense layout is ours.
    """

    tag_tokens: Tensor
    caption_mask: Tensor
    region_mean: Tensor
    region_deviation: Tensor

    def __init__(self, config: VisionLanguageConfig, lexicon: Lexicon) -> None:
        super().__init__()
        self.config = config
        self.lexicon = lexicon
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size, padding_idx=lexicon.pad)
        self.position_embeddings = nn.Embedding(config.max_positions, size)
        self.token_type_embeddings = nn.Embedding(2, size)
        self.embedding_norm = nn.LayerNorm(size, eps=1e-12)
        self.region_projection = nn.Linear(config.region_feature_size + 6, size)
        self.region_norm = nn.LayerNorm(size, eps=1e-12) if config.region_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(size, config.num_heads, config.intermediate_size, config.dropout, config.attention_dropout)
            for _ in range(config.num_layers)
        )
        self.word_transform = nn.Linear(size, size)
        self.word_norm = nn.LayerNorm(size, eps=1e-12)
        self.word_decoder = None if config.tied_words else nn.Linear(size, config.vocab_size, bias=False)
        self.word_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.pooler = nn.Linear(size, size)
        self.answer_head = nn.Linear(size, config.num_answers)
        self.match_head = nn.Linear(size, 2)
        # What features are standardised by: see `standardise_regions`.
        self.register_buffer("region_mean", torch.zeros(config.region_feature_size))
        self.register_buffer("region_deviation", torch.ones(config.region_feature_size))
        self.register_buffer("tag_tokens", lexicon.tag_tokens, persistent=False)
        self.register_buffer("caption_mask", lexicon.caption_mask, persistent=False)
        self.apply(_initialise)
        # Every answer starts as likely as one of all, not as a coin: training need not begin by learning to say no.
        nn.init.constant_(self.answer_head.bias, -math.log(max(1, config.num_answers - 1)))

    @property
    def encoder_layers(self) -> list[EncoderLayer]:
        return [cast(EncoderLayer, layer) for layer in self.layers]

    def standardise_regions(self, mean_F: Tensor, deviation_F: Tensor) -> None:
        """From now on features enter with these taken out, as if each had mean 0 and deviation 1.

        What detectors give has one sign and few differences, on which a small model looks for hundreds of steps before
        it tells two regions apart (a colour's answers after 500 steps: 23% right, and 12% without).
        """
        self.region_mean.copy_(mean_F)
        self.region_deviation.copy_(deviation_F)

    # -- prefix ---------------------------------------------------------------------------------------------------
    def tokens_of_tags(self, tags_BG: Tensor) -> Tensor:
        """WordPieces of tag words: int64 [B, G * W], [PAD] where there is none."""
        return pieces_of_tags(tags_BG, self.tag_tokens, self.lexicon.pad)

    def encode_prefix(self, regions: Regions, tag_tokens: Tensor | None = None, first_position: int = 0) -> Prefix:
        """Encodes tags and regions; `tag_tokens` [B, S] replaces the tags' own pieces (masked in pre-training), and
        the first of them stands at `first_position`."""
        tokens_BS = self.tokens_of_tags(regions.tags) if tag_tokens is None else tag_tokens
        positions = first_position + torch.arange(tokens_BS.shape[1], device=tokens_BS.device)
        tags_BSD = self.embed_text(tokens_BS, positions, token_type=1)
        hidden = torch.cat([tags_BSD, self.embed_regions(regions).to(tags_BSD.dtype)], dim=1)
        mask_BP = torch.cat([tokens_BS != self.lexicon.pad, regions.valid], dim=1)
        keys, values = [], []
        attention = hidden.new_zeros(0)
        for layer in self.encoder_layers:
            hidden, key, value, attention = layer.prefix(hidden, mask_BP)
            keys.append(key)
            values.append(value)
        return Prefix(torch.stack(keys, 1), torch.stack(values, 1), mask_BP, hidden, attention)

    def no_prefix(self, batch: int) -> Prefix:
        """The prefix of a text without a photo: length 0."""
        config, device = self.config, self.word_bias.device
        keys = torch.zeros(
            batch,
            config.num_layers,
            config.num_heads,
            0,
            config.hidden_size // config.num_heads,
            device=device,
        )
        return Prefix(
            keys,
            keys,
            torch.zeros(batch, 0, dtype=torch.bool, device=device),
            torch.zeros(batch, 0, config.hidden_size, device=device),
            torch.zeros(batch, config.num_heads, 0, 0, device=device),
        )

    # -- texts ----------------------------------------------------------------------------------------------------
    def encode_text(self, prefix: Prefix, tokens_BNT: Tensor, positions: Tensor, mask: Tensor) -> TextStates:
        """Runs texts over a prefix; `positions` [T], `mask` broadcast to [B, 1, N, T, T]."""
        return self.encode_embedded(prefix, self.embed_text(tokens_BNT, positions, token_type=0), mask)

    def encode_embedded(self, prefix: Prefix, hidden: Tensor, mask: Tensor) -> TextStates:
        """As `encode_text`, of tokens of any kind [B, N, T, D] that are embedded already."""
        attention = hidden.new_zeros(0)
        for index, layer in enumerate(self.encoder_layers):
            hidden, _, _, attention = layer.text(
                hidden, prefix.keys[:, index], prefix.values[:, index], prefix.mask, mask
            )
        return TextStates(hidden, attention)

    def encode_captions(self, prefix: Prefix, words_BNT: Tensor) -> TextStates:
        """[CLS] w1 .. wn, padded, and their [MASK] queries: states [B, N, 2 T, D], words first, then the queries.

        Query i (index T + i) predicts word i + 1, or [SEP] after the last.
        """
        length = words_BNT.shape[-1]
        queries_BNT = torch.full_like(words_BNT, self.lexicon.mask)
        place = torch.arange(length, device=words_BNT.device)
        positions = torch.cat([place, place + 1])
        mask = caption_mask(length, words_BNT.device)
        return self.encode_text(prefix, torch.cat([words_BNT, queries_BNT], dim=-1), positions, mask)

    def encode_questions(self, prefix: Prefix, tokens_BNT: Tensor) -> TextStates:
        """[CLS] question [SEP], padded; every token sees the prefix and the whole question. States [B, N, T, D]."""
        seen = (tokens_BNT != self.lexicon.pad)[:, None, :, None, :]
        return self.encode_text(prefix, tokens_BNT, torch.arange(tokens_BNT.shape[-1], device=seen.device), seen)

    # -- heads ----------------------------------------------------------------------------------------------------
    def word_logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V], BERT's masked-word head."""
        transformed = self.word_norm(nn.functional.gelu(self.word_transform(hidden)))
        decoder = self.word_embeddings if self.word_decoder is None else self.word_decoder
        return nn.functional.linear(transformed, decoder.weight, self.word_bias)

    def caption_logits(self, hidden: Tensor) -> Tensor:
        """As `word_logits`, with pieces that captions never use at a score that no softmax sees."""
        return self.word_logits(hidden).float().masked_fill(~self.caption_mask, -1e9)

    def pool(self, questions: TextStates) -> Tensor:
        """BERT's pooler on [CLS]: [B, N, D]."""
        return torch.tanh(self.pooler(questions.hidden[:, :, 0]))

    def answer_logits(self, pooled: Tensor) -> Tensor:
        return self.answer_head(self.dropout(pooled))

    def match_logits(self, pooled: Tensor) -> Tensor:
        return self.match_head(self.dropout(pooled))

    def embed_text(self, tokens: Tensor, positions: Tensor, token_type: int) -> Tensor:
        """BERT's embeddings: words [..., T], positions [T] or of each text, one segment (0 texts, 1 tags)."""
        embedded = self.word_embeddings(tokens) + self.position_embeddings(positions)
        return self.dropout(self.embedding_norm(embedded + self.token_type_embeddings.weight[token_type]))

    def embed_regions(self, regions: Regions) -> Tensor:
        """Feature and geometry of each region, projected: [B, R, D]; no position and no segment."""
        features_BRF = (regions.features - self.region_mean) / self.region_deviation
        inputs_BRX = torch.cat([features_BRF, box_geometry(regions.boxes).to(features_BRF.dtype)], dim=-1)
        return self.dropout(self.region_norm(self.region_projection(inputs_BRX)))


def _initialise(module: nn.Module) -> None:
    """Embeddings as BERT's, normal with deviation 0.02; matrices by Glorot's rule, biases zero.

    BERT's 0.02 for matrices suits its width of 768. At 128 it shrinks what attention brings twentyfold in every layer,
    and a small model learns for hundreds of steps without looking at the photo.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        if module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])
