"""Anchors, the coding of boxes as deltas, and IoU. All boxes are x1, y1, x2, y2 as shares (0-1) of the photo.

Deltas and IoU are the same in shares as in pixels: both are invariant to scaling the axes.
"""

# Shapes: B photos, N boxes, M objects, A anchors.
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

# of the photo; thinner boxes are no objects, and their size has no meaningful logarithm
MIN_SIDE = 1e-3
# exp() of a size delta is cut there, as in torchvision and Detectron
_MAX_SIZE_DELTA = math.log(1000.0 / 16)
# Faster R-CNN's standard deviations of deltas (0.1 and 0.2) as multipliers; 1 for the RPN
PROPOSAL_WEIGHTS = (1.0, 1.0)
DETECTION_WEIGHTS = (10.0, 5.0)


def tile_anchors(
    image_size: tuple[int, int], strides: Sequence[int], scales: Sequence[float], ratios: Sequence[float]
) -> Tensor:
    """Anchors [A, 4] centred on the cells, ordered by level, row, column, then scale and ratio (height / width)."""
    height, width = image_size
    levels = []
    for stride in strides:
        y = (torch.arange(height // stride) + 0.5) * stride
        x = (torch.arange(width // stride) + 0.5) * stride
        centre_y, centre_x = torch.meshgrid(y, x, indexing="ij")
        sides = [
            (stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio))
            for scale in scales
            for ratio in ratios
        ]
        half = torch.tensor(sides) / 2
        centre = torch.stack([centre_x, centre_y], dim=-1)[:, :, None]
        levels.append(torch.cat([centre - half, centre + half], dim=-1).flatten(0, 2))
    return torch.cat(levels) / torch.tensor([width, height, width, height])


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + size / 2, size


def encode(boxes: Tensor, references: Tensor, weights: tuple[float, float]) -> Tensor:
    """Deltas [..., 4] (dx, dy, dw, dh) that turn `references` into `boxes`; both need positive sides.

    Source: Girshick et al. 2014, R-CNN, appendix C.
    """
    centre, size = _centre_and_size(boxes)
    reference_centre, reference_size = _centre_and_size(references)
    shift = (centre - reference_centre) / reference_size * weights[0]
    return torch.cat([shift, torch.log(size / reference_size) * weights[1]], dim=-1)


def decode(deltas: Tensor, references: Tensor, weights: tuple[float, float]) -> Tensor:
    """The inverse of `encode`, clipped to the photo."""
    reference_centre, reference_size = _centre_and_size(references)
    centre = reference_centre + deltas[..., :2] / weights[0] * reference_size
    half = reference_size * torch.exp((deltas[..., 2:] / weights[1]).clamp(max=_MAX_SIZE_DELTA)) / 2
    return torch.cat([centre - half, centre + half], dim=-1).clamp(0.0, 1.0)


def pairwise_iou(boxes_BN4: Tensor, objects_BM4: Tensor) -> Tensor:
    """IoU [B, N, M]; 0 where a box has no area."""
    return torch.nan_to_num(box_iou(boxes_BN4, objects_BM4), nan=0.0)


def grid_boxes(grid: int) -> Tensor:
    """The whole photo and then grid x grid equal cells, row by row: [1 + grid^2, 4]."""
    edges = torch.arange(grid + 1) / grid
    cells = [
        torch.stack([edges[column], edges[row], edges[column + 1], edges[row + 1]])
        for row in range(grid)
        for column in range(grid)
    ]
    return torch.stack([torch.tensor([0.0, 0.0, 1.0, 1.0]), *cells])
