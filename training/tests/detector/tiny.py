"""Tiny detectors of random weights that nevertheless find something, for the tests beside."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from distillvlm.modeling.detector import ConceptTags, DetectionTargets, Detector, DetectorConfig
from distillvlm.recipes.concepts import with_concept_head

LABELS = ("ball", "box", "cat")
CONFIG = DetectorConfig(
    labels=LABELS,
    attributes=("red", "blue"),
    backbone="test_efficientnet",
    pretrained=None,
    freeze_backbone=True,
    image_size=(64, 64),
    pyramid_channels=16,
    pyramid_layers=1,
    anchor_scales=(3.0,),
    num_candidates=64,
    num_proposals=24,
    head_size=16,
    score_threshold=0.0,
    grid=2,
    num_regions=15,
    num_tags=3,
)


def tiny_detector(**changes: object) -> Detector:
    """In eval mode; its BatchNorms know the photos, and weights that fresh detectors keep near 0 are spread."""
    torch.manual_seed(0)
    detector = Detector(replace(CONFIG, **changes)).train()
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # one pass sets the statistics
    with torch.no_grad():
        detector.losses(photos(8), one_object((0.1, 0.1, 0.6, 0.7), label=2, photos=8))
    for norm in norms:
        norm.momentum = 0.1
    for layer, spread in (
        (detector.rpn.objectness, 1.0),
        (detector.rpn.deltas, 0.1),
        (detector.box_head.classes, 1.5),
        (detector.box_head.deltas, 1.0),
    ):
        nn.init.normal_(layer.weight, std=spread)
    return detector.eval()


CONCEPTS = ("dog", "dogs", "red", "running", "beach", "two", "man")


def detector_with_concepts() -> Detector:
    """Random weights, spread so far that photos differ in their tags and have one to three of them."""
    detector = tiny_detector(pool_backbone=True)
    with torch.no_grad():
        regions = detector(photos(3))
    features = regions.features[regions.valid]
    tags = ConceptTags(CONCEPTS, torch.linspace(0.3, 0.01, len(CONCEPTS)), threshold=0.45, hidden_size=8)
    torch.manual_seed(0)
    head = detector.new_concept_head(len(CONCEPTS), hidden_size=8)
    head.standardise(features.mean(0), features.std(0).clamp(min=1e-3))
    head.start_at(tags.prior, regions=15)
    nn.init.normal_(head.words.weight, std=1.0)
    return with_concept_head(detector, tags, head)


def photos(count: int, seed: int = 1) -> Tensor:
    """Coarse random patterns, uint8 [count, 64, 64, 3]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (count, 8, 8, 3), generator=generator, dtype=torch.uint8)
    return coarse.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)


def random_boxes(*shape: int, seed: int = 0) -> Tensor:
    """Boxes inside the photo with sides of at least 0.05: [*shape, 4]."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(*shape, 2, generator=generator) * 0.6
    size = torch.rand(*shape, 2, generator=generator) * 0.35 + 0.05
    return torch.cat([start, start + size], dim=-1)


def one_object(box: tuple[float, float, float, float], label: int, photos: int = 1) -> DetectionTargets:
    """The same certain object, red, on each photo."""
    return DetectionTargets(
        boxes=torch.tensor(box).expand(photos, 1, 4).clone(),
        labels=torch.full((photos, 1), label),
        attributes=torch.tensor([True, False]).expand(photos, 1, 2).clone(),
        weights=torch.ones(photos, 1),
    )
