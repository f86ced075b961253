"""Settings of a detector; student and teacher differ only in these."""

from __future__ import annotations

from dataclasses import dataclass

from distillvlm.modeling.backbones import MINUS_ONE_TO_ONE
from distillvlm.modeling.detector.companions import Companion


@dataclass(frozen=True)
class DetectorConfig:
    """Sizes are (height, width) in pixels, multiples of 64; thresholds are 0-1.

    backbone: timm name, e.g. "tf_efficientnet_lite2". pretrained: "lite0", "lite2", a path, or None for random.
    normalisation: (mean, std) of RGB in 0-1 that the backbone was trained with.
    grid: 0 for none; g puts the whole photo and g x g cells in front of the detections.
    num_regions: R, all regions of a photo; detections fill what the grid leaves.
    semantic_head: the box head reads the backbone's classifier map, averaged over each box, beside the pyramid: what
        ImageNet taught names objects long before a fresh pyramid does.
    semantic_norm: normalises what the semantic head reads, box by box: on scenes it named 10 points more objects right
        in combinations that it had not seen.
    pool_backbone: appends the backbone's classifier map, averaged over each box, to the box head's own feature.
    companions: backbones that only describe: their last maps are averaged over each box and appended too.
    """

    labels: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    backbone: str = "tf_efficientnet_lite2"
    pretrained: str | None = "lite2"
    freeze_backbone: bool = True
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = MINUS_ONE_TO_ONE
    image_size: tuple[int, int] = (256, 256)

    pyramid_channels: int = 96
    pyramid_layers: int = 2

    # An anchor's side is its level's stride (8, 16, 32, 64) times a scale: 24 to 272 px at 256 px photos.
    anchor_scales: tuple[float, ...] = (3.0, 4.25)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    num_candidates: int = 256  # anchors that enter the suppression of proposals
    num_proposals: int = 64
    proposal_iou: float = 0.7

    head_size: int = 256  # of the box head's own region feature
    semantic_head: bool = False
    semantic_norm: bool = False
    attribute_embedding: int = 64
    score_threshold: float = 0.05
    detection_iou: float = 0.5
    attribute_threshold: float = 0.1  # bottom-up attention's demo shows attributes from 0.1

    grid: int = 0
    num_regions: int = 50
    pool_backbone: bool = False
    companions: tuple[Companion, ...] = ()
    num_tags: int = 8
    tag_threshold: float = 0.25

    def __post_init__(self) -> None:
        if any(side <= 0 or side % 64 for side in self.image_size):
            raise ValueError(f"Expected multiples of 64 for image_size but received {self.image_size}")
        if not self.labels:
            raise ValueError("Expected at least one label for labels but received none")
        if not 0 < self.num_detections <= self.num_proposals:
            raise ValueError(
                f"Expected 1 to num_proposals ({self.num_proposals}) detections beside the grid's "
                f"{self.num_grid_regions} of num_regions but received {self.num_detections}"
            )

    @property
    def num_grid_regions(self) -> int:
        return 1 + self.grid**2 if self.grid else 0

    @property
    def num_detections(self) -> int:
        return self.num_regions - self.num_grid_regions
