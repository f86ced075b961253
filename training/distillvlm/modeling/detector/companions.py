"""Further frozen backbones of a teacher's detector: what they say of each box stands beside the detector's own."""

# Shapes: B photos, H, W pixels, C channels, h, w cells of a map.
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillvlm.modeling.backbones import MINUS_ONE_TO_ONE, Normalisation, create_model


@dataclass(frozen=True)
class Companion:
    """name: of a timm model. pretrained, normalisation: see `DetectorConfig`. image_size: (height, width) that it is
    given. options: of timm, like num_classes, as pairs."""

    name: str
    pretrained: str | None
    image_size: tuple[int, int]
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = MINUS_ONE_TO_ONE
    options: tuple[tuple[str, object], ...] = ()


class CompanionBackbone(nn.Module):
    """A frozen timm model, convolutional or a vision transformer, that gives its last map."""

    def __init__(self, companion: Companion) -> None:
        super().__init__()
        self.image_size = companion.image_size
        self.normalise = Normalisation(*companion.normalisation)
        self.model = create_model(companion.name, companion.pretrained, **dict(companion.options))
        self.channels: int = self.model.num_features
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> CompanionBackbone:
        """It never leaves eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels_BHW3: Tensor) -> Tensor:
        """uint8 RGB of any size -> the map that the classifier pools, or the last patches: [B, C, h, w]."""
        pixels_B3HW = self.normalise(pixels_BHW3)
        if pixels_B3HW.shape[-2:] != self.image_size:
            pixels_B3HW = functional.interpolate(pixels_B3HW, self.image_size, mode="bilinear", antialias=True)
        last, maps = self.model.forward_intermediates(pixels_B3HW, indices=1, norm=True)
        is_map = last.dim() == 4
        return last if is_map else maps[-1]
