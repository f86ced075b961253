"""The two-stage detector of student and teacher: backbone, BiFPN, RPN, RoIAlign 4x4, box head, attributes, tags."""

# Shapes: B photos, H, W pixels, A anchors, P proposals, R regions, F feature size, D own feature, K classes.
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from distillvlm.modeling.backbones import Backbone
from distillvlm.modeling.detector.boxes import DETECTION_WEIGHTS, MIN_SIDE, decode, grid_boxes, tile_anchors
from distillvlm.modeling.detector.companions import CompanionBackbone
from distillvlm.modeling.detector.concepts import ConceptHead, ConceptTagger, ConceptTags
from distillvlm.modeling.detector.config import DetectorConfig
from distillvlm.modeling.detector.heads import BINS, AttributeHead, BoxHead
from distillvlm.modeling.detector.losses import (
    DetectionTargets,
    attribute_loss,
    detection_losses,
    proposal_losses,
    sample_proposals,
)
from distillvlm.modeling.detector.nms import class_aware_nms_mask
from distillvlm.modeling.detector.pooling import multi_level_roi_align, roi_align
from distillvlm.modeling.detector.proposals import Proposals, RegionProposalNetwork, select_proposals
from distillvlm.modeling.detector.pyramid import LEVEL_STRIDES, BiFPN
from distillvlm.modeling.detector.tagger import Tagger
from distillvlm.structures.regions import Regions


@dataclass(frozen=True)
class FeatureMaps:
    """levels: the pyramid's maps, finest first. head: the backbone's classifier map, None where no part needs it.
    pixels: what they were made from."""

    levels: list[Tensor]
    head: Tensor | None
    pixels: Tensor


class Detector(nn.Module):
    """Photos -> `Regions`.

    feature_size: F, numbers of a region's feature: the box head's own, the backbone's if `pool_backbone`, and those of
    the companions.
    tag_words: the words whose rows `Regions.tags` holds: the labels or, with a concept head, its words.
    """

    anchors: Tensor
    grid: Tensor

    def __init__(self, config: DetectorConfig, tags: ConceptTags | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(
            config.backbone,
            config.pretrained,
            frozen=config.freeze_backbone,
            with_head=config.semantic_head or config.pool_backbone,
            normalisation=config.normalisation,
        )
        self.pyramid = BiFPN(self.backbone.channels, config.pyramid_channels, config.pyramid_layers)
        anchors_per_cell = len(config.anchor_scales) * len(config.anchor_ratios)
        self.rpn = RegionProposalNetwork(config.pyramid_channels, anchors_per_cell)
        self.box_head = BoxHead(
            config.pyramid_channels,
            config.head_size,
            len(config.labels),
            self.backbone.head_channels if config.semantic_head else 0,
            config.semantic_norm,
        )
        self.attribute_head = (
            AttributeHead(config.head_size, len(config.labels), config.attribute_embedding, len(config.attributes))
            if config.attributes
            else None
        )
        self.companions = nn.ModuleList(CompanionBackbone(companion) for companion in config.companions)
        pooled = [self.backbone.head_channels] if config.pool_backbone else []
        pooled += [cast(CompanionBackbone, companion).channels for companion in self.companions]
        self.feature_size = config.head_size + sum(pooled)
        self.tagger = (
            ConceptTagger(self.new_concept_head(len(tags.words), tags.hidden_size), tags, config.num_tags)
            if tags is not None
            else Tagger(config.labels, config.num_tags, config.tag_threshold)
        )
        self.tag_words = self.tagger.words
        anchors_A4 = tile_anchors(config.image_size, LEVEL_STRIDES, config.anchor_scales, config.anchor_ratios)
        self.register_buffer("anchors", anchors_A4, persistent=False)
        grid_R4 = grid_boxes(config.grid) if config.grid else torch.zeros(0, 4)
        self.register_buffer("grid", grid_R4, persistent=False)

    def forward(self, pixels_BHW3: Tensor) -> Regions:
        """Inference on upright uint8 RGB photos of the configured size; the whole photo and the grid come first."""
        maps = self._maps(pixels_BHW3)
        boxes, labels, scores, valid = self._detect(maps)
        grid_BR4 = self.grid.expand(boxes.shape[0], -1, -1)
        grid_BR = grid_BR4[..., 0]
        boxes = torch.cat([grid_BR4, boxes], dim=1)
        labels = torch.cat([torch.full_like(grid_BR, -1, dtype=torch.int64), labels], dim=1)
        scores = torch.cat([torch.zeros_like(grid_BR), scores], dim=1)
        valid = torch.cat([torch.ones_like(grid_BR, dtype=torch.bool), valid], dim=1)

        own_BRD, semantic_BRC = self._describe(maps, boxes)
        regions = Regions(
            boxes=boxes,
            features=self._features(maps, boxes, valid, own_BRD, semantic_BRC),
            labels=labels,
            attributes=self._attributes(own_BRD, labels),
            scores=scores,
            valid=valid,
            tags=labels.new_full((labels.shape[0], self.config.num_tags), -1),
        )
        return replace(regions, tags=self._tags(regions))

    def features_at(self, pixels_BHW3: Tensor, boxes_BR4: Tensor, valid_BR: Tensor) -> Tensor:
        """Features [B, R, F] of given boxes (shares of the photo), 0 where not valid.

        The teacher's way to speak of the student's regions: Fang et al. 2021, section 3.2.
        """
        maps = self._maps(pixels_BHW3)
        return self._features(maps, boxes_BR4, valid_BR, *self._describe(maps, boxes_BR4))

    def losses(self, pixels_BHW3: Tensor, targets: DetectionTargets) -> dict[str, Tensor]:
        """Scalars: proposal_objectness, proposal_box, class, box and, of a detector that knows any, attribute."""
        maps = self._maps(pixels_BHW3)
        logits, deltas = self.rpn(maps.levels)
        losses = proposal_losses(logits, deltas, self.anchors, targets)
        with torch.no_grad():
            samples = sample_proposals(self._select(logits, deltas), targets)
        own, _ = self._describe(maps, samples.boxes)
        losses |= detection_losses(*self.box_head.predict(own), samples, targets)
        if self.attribute_head is not None:
            photos = torch.arange(len(own), device=own.device)[:, None]
            labels = targets.labels[photos, samples.objects]
            losses["attribute"] = attribute_loss(self.attribute_head(own, labels), samples, targets)
        return losses

    def classes_of(self, regions: Regions) -> Tensor:
        """Probabilities [B, K] of the backbone's own classes from regions, kept or fresh, of a detector that can have a
        concept head: the whole photo is the first region, and the backbone's part of its feature is what the classifier
        reads."""
        start = self.config.head_size
        whole_BC = regions.features[:, 0, start : start + self.backbone.head_channels]
        return self.backbone.class_probabilities(whole_BC[..., None, None])

    def new_concept_head(self, num_words: int, hidden_size: int, dropout: float = 0.0) -> ConceptHead:
        """A head of random weights for this detector's regions.

        Raises:
            ValueError: they have no grid, whose first region is the whole photo, or no backbone's feature.
        """
        config, classes = self.config, self.backbone.num_classes
        if not (config.grid and config.pool_backbone):
            raise ValueError(
                "Expected a grid and pool_backbone for a concept head, which reads the classifier from the whole "
                f"photo's feature, but received grid {config.grid} and pool_backbone {config.pool_backbone}"
            )
        return ConceptHead(self.feature_size, classes, len(config.labels), num_words, hidden_size, dropout)

    def _tags(self, regions: Regions) -> Tensor:
        if isinstance(self.tagger, ConceptTagger):
            return self.tagger(regions, self.classes_of(regions))
        return self.tagger(regions.labels, regions.scores)

    def _maps(self, pixels_BHW3: Tensor) -> FeatureMaps:
        if tuple(pixels_BHW3.shape[1:3]) != self.config.image_size:
            raise ValueError(
                f"Expected photos of {self.config.image_size} but received {tuple(pixels_BHW3.shape[1:3])}"
            )
        maps, head = self.backbone(pixels_BHW3)
        return FeatureMaps(self.pyramid(maps), head, pixels_BHW3)

    def _select(self, logits_BA: Tensor, deltas_BA4: Tensor) -> Proposals:
        config = self.config
        return select_proposals(
            logits_BA, deltas_BA4, self.anchors, config.num_candidates, config.num_proposals, config.proposal_iou
        )

    def _describe(self, maps: FeatureMaps, boxes_BR4: Tensor) -> tuple[Tensor, Tensor | None]:
        """The box head's own features [B, R, D], and the classifier map's means over the boxes [B, R, C]."""
        pooled = multi_level_roi_align(maps.levels, boxes_BR4, self.config.image_size, LEVEL_STRIDES, BINS)
        semantic = None if maps.head is None else mean_over(maps.head, boxes_BR4)
        return self.box_head(pooled, semantic), semantic

    def _features(
        self, maps: FeatureMaps, boxes_BR4: Tensor, valid_BR: Tensor, own_BRD: Tensor, semantic_BRC: Tensor | None
    ) -> Tensor:
        features = [own_BRD]
        if self.config.pool_backbone:
            assert semantic_BRC is not None
            features.append(semantic_BRC)
        features += [mean_over(companion(maps.pixels), boxes_BR4) for companion in self.companions]
        return torch.cat(features, dim=-1).float() * valid_BR[..., None]

    def _detect(self, maps: FeatureMaps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes [B, N, 4], labels, scores and valid [B, N] of the N best detections, best first."""
        config = self.config
        proposals = self._select(*self.rpn(maps.levels))
        logits, deltas = self.box_head.predict(self._describe(maps, proposals.boxes)[0])
        scores_BP, labels_BP = logits.softmax(dim=-1)[..., :-1].max(dim=-1)
        boxes_BP4 = decode(deltas, proposals.boxes, DETECTION_WEIGHTS)
        has_area_BP = (boxes_BP4[..., 2:] - boxes_BP4[..., :2]).amin(dim=-1) > MIN_SIDE
        usable_BP = proposals.valid & has_area_BP & (scores_BP >= config.score_threshold)
        candidates_BP = torch.where(usable_BP, scores_BP, 0.0)
        kept_BP = class_aware_nms_mask(boxes_BP4, candidates_BP, labels_BP, config.detection_iou)
        scores, index = (candidates_BP * kept_BP).topk(config.num_detections, dim=1)
        valid = scores > 0
        labels = torch.where(valid, labels_BP.gather(1, index), -1)
        boxes = boxes_BP4.gather(1, index[..., None].expand(-1, -1, 4)) * valid[..., None]
        return boxes, labels, scores, valid

    def _attributes(self, own_BRD: Tensor, labels_BR: Tensor) -> Tensor:
        """The likeliest attribute of each region, int64 [B, R], -1 below the threshold or without a label."""
        if self.attribute_head is None:
            return torch.full_like(labels_BR, -1)
        scores, attributes = self.attribute_head(own_BRD, labels_BR.clamp(min=0)).softmax(dim=-1).max(dim=-1)
        shown = (scores >= self.config.attribute_threshold) & (labels_BR >= 0)
        return torch.where(shown, attributes, -1)


def mean_over(map_BCHW: Tensor, boxes_BR4: Tensor) -> Tensor:
    """A map's mean over each box: [B, R, C]."""
    return roi_align(map_BCHW, boxes_BR4, bins=1, samples=BINS).flatten(2)
