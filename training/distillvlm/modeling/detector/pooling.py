"""RoIAlign as matrix products.

RoIAlign is linear in the map and separable: a bin's value is a weighted mean of cells, the weights a product of one
factor along y and one along x. As two batched products it has static shapes, runs on every core, and its backward pass
is two products too; torchvision's CPU kernel runs on one core.
"""

# Shapes: B photos, R boxes, C channels, H, W cells of a map, P bins along a side.
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def _axis_weights(start_BR: Tensor, end_BR: Tensor, num_cells: int, bins: int, samples: int) -> Tensor:
    """Weights [B, R, P, cells] of cells in bins along one axis; start and end in cells."""
    step = (torch.arange(bins * samples, device=start_BR.device) + 0.5) / (bins * samples)
    # -0.5: a cell's value stands at its centre (torchvision's aligned=True)
    at = start_BR[..., None] + step * (end_BR - start_BR)[..., None] - 0.5
    at = at.clamp(0, num_cells - 1)
    cells = torch.arange(num_cells, device=start_BR.device, dtype=at.dtype)
    bilinear = (1 - (at[..., None] - cells).abs()).clamp(min=0)
    return bilinear.unflatten(-2, (bins, samples)).mean(dim=-2)


def roi_align(map_BCHW: Tensor, boxes_BR4: Tensor, bins: int, samples: int = 2) -> Tensor:
    """Mean of samples x samples bilinear samples in each of P x P bins of each box: [B, R, P, P, C].

    Boxes are shares (0-1) of the photo. Equals torchvision.ops.roi_align(aligned=True, sampling_ratio=samples).
    Source: He et al. 2017, Mask R-CNN, arXiv:1703.06870, section 3.
    """
    height, width = map_BCHW.shape[-2:]
    x1, y1, x2, y2 = boxes_BR4.float().unbind(dim=-1)
    weights_y = _axis_weights(y1 * height, y2 * height, height, bins, samples).to(map_BCHW.dtype)
    weights_x = _axis_weights(x1 * width, x2 * width, width, bins, samples).to(map_BCHW.dtype)
    rows_BHWC = map_BCHW.permute(0, 2, 3, 1)
    pooled_y = weights_y.flatten(1, 2) @ rows_BHWC.flatten(2)
    pooled_BRPWC = pooled_y.unflatten(2, (width, -1)).unflatten(1, (-1, bins))
    return weights_x[:, :, None] @ pooled_BRPWC


def assign_levels(boxes_BR4: Tensor, image_size: tuple[int, int], strides: Sequence[int], bins: int) -> Tensor:
    """Level [B, R] on which a box spans two to four cells a bin.

    Source: Lin et al. 2017, FPN, arXiv:1612.03144, equation 1, with the canonical size set by the number of bins.
    """
    height, width = image_size
    sides = (boxes_BR4[..., 2:] - boxes_BR4[..., :2]).clamp(min=1e-6) * boxes_BR4.new_tensor([width, height])
    side_px = sides.prod(dim=-1).sqrt()
    level = torch.floor(torch.log2(side_px / (2 * bins * strides[0])) + 1e-6)
    return level.clamp(0, len(strides) - 1).to(torch.int64)


def multi_level_roi_align(
    maps: Sequence[Tensor], boxes_BR4: Tensor, image_size: tuple[int, int], strides: Sequence[int], bins: int
) -> Tensor:
    """RoIAlign of each box on the level of its size: [B, R, P, P, C]."""
    levels_BR = assign_levels(boxes_BR4, image_size, strides, bins)
    pooled: Tensor | None = None
    for level, each in enumerate(maps):
        on_level = (levels_BR == level)[..., None, None, None]
        values = roi_align(each, boxes_BR4, bins) * on_level
        pooled = values if pooled is None else pooled + values
    assert pooled is not None
    return pooled
