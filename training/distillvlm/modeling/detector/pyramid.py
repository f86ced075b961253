"""The feature pyramid: BiFPN over strides 8 to 64, in depthwise and pointwise convolutions.

Source: Tan et al. 2020, EfficientDet, arXiv:1911.09070, section 3; MiniVLM's TEE uses it, arXiv:2012.06946.
"""

# Shapes: B photos, C channels, H, W cells of a level.
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVEL_STRIDES = (8, 16, 32, 64)


class SeparableConv(nn.Sequential):
    """Depthwise 3x3, pointwise 1x1, BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )


class Fusion(nn.Module):
    """Fast normalised fusion of same-shaped maps (equation 3 of section 3.3), then a separable convolution."""

    def __init__(self, num_inputs: int, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs))
        self.conv = SeparableConv(channels)

    def forward(self, *maps: Tensor) -> Tensor:
        weights = functional.relu(self.weights)
        weights = weights / (weights.sum() + 1e-4)
        fused = sum((weight * each for weight, each in zip(weights.unbind(), maps, strict=True)), start=torch.zeros(()))
        return self.conv(functional.relu6(fused))


def _upsample(map_BCHW: Tensor) -> Tensor:
    return functional.interpolate(map_BCHW, scale_factor=2.0, mode="nearest")


def _downsample(map_BCHW: Tensor) -> Tensor:
    return functional.max_pool2d(map_BCHW, 2)


class BiFPNLayer(nn.Module):
    """One top-down and one bottom-up pass over the levels, finest first."""

    def __init__(self, num_levels: int, channels: int) -> None:
        super().__init__()
        self.top_down = nn.ModuleList(Fusion(2, channels) for _ in range(num_levels - 1))
        # the coarsest level has no node in the top-down pass, so two inputs instead of three
        self.bottom_up = nn.ModuleList(
            Fusion(2 if level == num_levels - 1 else 3, channels) for level in range(1, num_levels)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        down = [maps[-1]]
        for level in reversed(range(len(maps) - 1)):
            down.insert(0, self.top_down[level](maps[level], _upsample(down[0])))
        out = [down[0]]
        for level, fusion in enumerate(self.bottom_up, start=1):
            inputs = [maps[level]] if level == len(maps) - 1 else [maps[level], down[level]]
            out.append(fusion(*inputs, _downsample(out[-1])))
        return out


class BiFPN(nn.Module):
    """Maps at strides 8, 16, 32 -> as many channels at strides 8, 16, 32, 64."""

    def __init__(self, in_channels: Sequence[int], channels: int, num_layers: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(each, channels, 1, bias=False), nn.BatchNorm2d(channels)) for each in in_channels
        )
        self.layers = nn.ModuleList(BiFPNLayer(len(LEVEL_STRIDES), channels) for _ in range(num_layers))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = [lateral(each) for lateral, each in zip(self.lateral, maps, strict=True)]
        levels.append(_downsample(levels[-1]))
        for layer in self.layers:
            levels = layer(levels)
        return levels
