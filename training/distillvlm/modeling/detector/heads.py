"""The box head and the attribute head."""

# Shapes: B photos, R boxes, P bins along a side, C channels, D head size.
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BINS = 4  # RoIAlign 4x4: MiniVLM, arXiv:2012.06946


class BoxHead(nn.Module):
    """Pooled boxes -> a feature of D numbers each, class logits (background last) and class-agnostic deltas.

    semantic_channels: of the backbone's classifier map, which the head reads too; 0 for the pyramid alone.
    semantic_norm: brings that map's means over each box to mean 0 and deviation 1 first.
    """

    def __init__(
        self, channels: int, head_size: int, num_labels: int, semantic_channels: int, semantic_norm: bool
    ) -> None:
        super().__init__()
        self.semantic_norm = semantic_norm
        self.hidden = nn.Linear(BINS * BINS * channels, head_size)
        self.semantic = nn.Linear(semantic_channels, head_size) if semantic_channels else None
        self.feature = nn.Linear(head_size, head_size)
        self.classes = nn.Linear(head_size, num_labels + 1)
        self.deltas = nn.Linear(head_size, 4)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (self.classes, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, pooled_BRPPC: Tensor, semantic_BRC: Tensor | None) -> Tensor:
        """The penultimate activations, the region's own feature: [B, R, D]."""
        hidden = self.hidden(pooled_BRPPC.flatten(2))
        if self.semantic is not None:
            assert semantic_BRC is not None
            if self.semantic_norm:
                semantic_BRC = functional.layer_norm(semantic_BRC, semantic_BRC.shape[-1:])
            hidden = hidden + self.semantic(semantic_BRC)
        return functional.relu(self.feature(functional.relu(hidden)))

    def predict(self, features_BRD: Tensor) -> tuple[Tensor, Tensor]:
        """Returns float32 class logits [B, R, labels + 1] and deltas [B, R, 4]."""
        return self.classes(features_BRD).float(), self.deltas(features_BRD).float()


class AttributeHead(nn.Module):
    """A softmax over attributes, given a region's feature and its class.

    Source: Anderson et al. 2018, bottom-up attention, arXiv:1707.07998, section 3.1: the class is embedded and joined
    to the feature. Annotations never say "no attribute", so that is no class: a region shows one above a threshold.
    """

    def __init__(self, head_size: int, num_labels: int, embedding_size: int, num_attributes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_labels, embedding_size)
        self.hidden = nn.Linear(head_size + embedding_size, head_size)
        self.attributes = nn.Linear(head_size, num_attributes)

    def forward(self, features_BRD: Tensor, labels_BR: Tensor) -> Tensor:
        """Returns float32 logits [B, R, attributes]; labels must be 0 or more."""
        joined = torch.cat([features_BRD, self.embedding(labels_BR)], dim=-1)
        return self.attributes(functional.relu(self.hidden(joined))).float()
