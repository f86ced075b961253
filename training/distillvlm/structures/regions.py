"""What a detector says of a batch of photos."""

# Shapes: B photos, R regions, F feature size, G tags.
from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Regions:
    """Regions of B photos, padded to R with `valid` false.

    boxes: float32 [B, R, 4], x1, y1, x2, y2 as shares (0-1) of the whole upright photo.
    features: float [B, R, F].
    labels, attributes: int64 [B, R], -1 where the region has none (grid cells, padding).
    scores: float32 [B, R] in 0-1; 0 for grid cells and padding.
    valid: bool [B, R].
    tags: int64 [B, G], rows of the list of tag words, most certain first, -1 where there is none.
    """

    boxes: Tensor
    features: Tensor
    labels: Tensor
    attributes: Tensor
    scores: Tensor
    valid: Tensor
    tags: Tensor

    def __len__(self) -> int:
        return self.boxes.shape[0]

    def to(self, device: torch.device | str) -> Regions:
        return Regions(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def __getitem__(self, index: slice | Tensor) -> Regions:
        return Regions(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def tags_alone(tags_BG: Tensor, feature_size: int) -> Regions:
    """What is known of photos by their tags and nothing else: no regions (R = 0)."""
    batch = len(tags_BG)
    none = torch.zeros(batch, 0)
    return Regions(
        boxes=torch.zeros(batch, 0, 4),
        features=torch.zeros(batch, 0, feature_size),
        labels=none.long(),
        attributes=none.long(),
        scores=none,
        valid=none.bool(),
        tags=tags_BG,
    )


def box_geometry(boxes_BR4: Tensor) -> Tensor:
    """The six numbers that OSCAR appends to a region's feature: x1/W, y1/H, x2/W, y2/H, w/W, h/H.

    Boxes are already shares of the photo's width and height. Returns [B, R, 6].
    Source: Li et al. 2020, arXiv:2004.06165, section 3.
    """
    size_BR2 = boxes_BR4[..., 2:] - boxes_BR4[..., :2]
    return torch.cat([boxes_BR4, size_BR2], dim=-1)
