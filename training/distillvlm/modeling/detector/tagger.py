"""Tags: the words that stand before a photo's regions."""

# Shapes: B photos, R detections, L labels, G tags.
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def best_scores(labels_BR: Tensor, scores_BR: Tensor, num_labels: int) -> Tensor:
    """The best score of each label among a photo's detections, float32 [B, L], 0 for none. labels: -1 for none."""
    one_hot_BRL = functional.one_hot(labels_BR.clamp(min=0), num_labels) * (labels_BR >= 0)[..., None]
    return (one_hot_BRL * scores_BR[..., None]).amax(dim=1)


class Tagger(nn.Module):
    """The most certain words of a photo: distinct labels of its detections."""

    def __init__(self, labels: tuple[str, ...], num_tags: int, threshold: float) -> None:
        super().__init__()
        self.words = labels
        self.num_tags = num_tags
        self.threshold = threshold
        if num_tags > len(labels):
            raise ValueError(f"Expected at most {len(labels)} (one a tag word) for num_tags but received {num_tags}")

    def forward(self, labels_BR: Tensor, scores_BR: Tensor) -> Tensor:
        """Rows of `words`, int64 [B, G], -1 where none is certain enough. labels: int64 [B, R], -1 for none."""
        scores_BL = best_scores(labels_BR, scores_BR, len(self.words))
        rank_BL = torch.where(scores_BL >= self.threshold, scores_BL, 0.0)
        best_BG, tags_BG = rank_BL.topk(self.num_tags, dim=1)
        return torch.where(best_BG > 0, tags_BG, -1)
