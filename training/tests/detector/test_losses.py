"""Targets and losses on cases small enough to work out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from distillvlm.modeling.detector.boxes import DETECTION_WEIGHTS, PROPOSAL_WEIGHTS, encode, pairwise_iou, tile_anchors
from distillvlm.modeling.detector.losses import (
    MAX_POSITIVE_SAMPLES,
    NUM_SAMPLES,
    DetectionTargets,
    Samples,
    attribute_loss,
    detection_losses,
    proposal_losses,
    sample_proposals,
)
from distillvlm.modeling.detector.proposals import Proposals
from tests.detector.tiny import one_object, random_boxes

ANCHORS = tile_anchors((64, 64), (8, 16), (3.0,), (1.0,))
OBJECT = (0.25, 0.25, 0.625, 0.625)  # 24 px: the anchor of the cell at (28, 28) px exactly
EXACT_ANCHOR = 3 * 8 + 3


def with_padding(targets: DetectionTargets) -> DetectionTargets:
    """A second place in each row that holds no object."""
    return DetectionTargets(
        boxes=torch.cat([targets.boxes, torch.tensor([0.0, 0.0, 1.0, 1.0]).expand_as(targets.boxes)], dim=1),
        labels=torch.cat([targets.labels, torch.zeros_like(targets.labels)], dim=1),
        attributes=torch.cat([targets.attributes, torch.zeros_like(targets.attributes)], dim=1),
        weights=torch.cat([targets.weights, torch.zeros_like(targets.weights)], dim=1),
    )


def proposals_of(boxes: Tensor) -> Proposals:
    return Proposals(boxes, torch.ones(boxes.shape[:2], dtype=torch.bool))


def test_perfect_proposals_cost_nothing_and_missing_the_object_does() -> None:
    targets = one_object(OBJECT, label=1)
    deltas = encode(targets.boxes.expand(1, len(ANCHORS), 4), ANCHORS[None], PROPOSAL_WEIGHTS)
    missed = proposal_losses(torch.full((1, len(ANCHORS)), -20.0), deltas, ANCHORS, targets)
    overlapping = pairwise_iou(ANCHORS[None], targets.boxes)[..., 0] > 0.4
    found = proposal_losses(torch.where(overlapping, 20.0, -20.0), deltas, ANCHORS, targets)
    assert overlapping[0, EXACT_ANCHOR]
    assert [loss.item() for loss in found.values()] == pytest.approx([0.0, 0.0], abs=1e-6)
    # every positive costs alpha * 20 = 5, and the loss is per positive
    assert missed["proposal_objectness"].item() == pytest.approx(5.0)


def test_object_that_no_anchor_overlaps_well_keeps_its_best_anchor() -> None:
    targets = one_object((0.4, 0.4, 0.45, 0.45), label=0)  # 3 px: IoU with any anchor is below 0.02
    zeros = torch.zeros(1, len(ANCHORS), 4)
    assert proposal_losses(torch.zeros(1, len(ANCHORS)), zeros, ANCHORS, targets)["proposal_box"] > 1


def test_padding_changes_no_loss() -> None:
    torch.manual_seed(0)
    logits, deltas = torch.randn(2, len(ANCHORS)), torch.randn(2, len(ANCHORS), 4)
    targets = one_object(OBJECT, label=1, photos=2)
    assert proposal_losses(logits, deltas, ANCHORS, with_padding(targets)) == proposal_losses(
        logits, deltas, ANCHORS, targets
    )


def test_photo_without_objects_has_only_background_to_learn() -> None:
    empty = DetectionTargets(
        torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]),
        torch.zeros(1, 1, dtype=torch.int64),
        torch.zeros(1, 1, 2, dtype=torch.bool),
        torch.zeros(1, 1),
    )
    losses = proposal_losses(torch.zeros(1, len(ANCHORS)), torch.ones(1, len(ANCHORS), 4), ANCHORS, empty)
    assert losses["proposal_box"] == 0
    assert losses["proposal_objectness"] > 0
    samples = sample_proposals(proposals_of(random_boxes(1, 10)), empty)
    assert not samples.positive.any()
    assert samples.weights.sum() == 10


def test_samples_take_positives_up_to_their_share_and_most_object_like_negatives() -> None:
    hits = torch.tensor(OBJECT).expand(1, MAX_POSITIVE_SAMPLES + 10, 4)
    misses = torch.tensor([0.8, 0.8, 1.0, 1.0]).expand(1, 100, 4)
    samples = sample_proposals(proposals_of(torch.cat([misses, hits], dim=1)), one_object(OBJECT, label=1))
    assert samples.boxes.shape == (1, NUM_SAMPLES, 4)
    assert samples.positive.sum() == MAX_POSITIVE_SAMPLES
    assert (samples.weights == 1).all()


def test_while_proposals_miss_the_object_its_own_box_is_the_positive_sample() -> None:
    far = torch.tensor([[[0.8, 0.8, 1.0, 1.0]]])
    samples = sample_proposals(proposals_of(far), one_object(OBJECT, label=1))
    assert samples.boxes[samples.positive].tolist() == [pytest.approx(OBJECT)]
    assert samples.weights.sum() == 2


def test_uncertain_object_weighs_by_its_score_and_is_never_background() -> None:
    targets = one_object(OBJECT, label=1)
    targets.weights.fill_(0.3)
    samples = sample_proposals(proposals_of(torch.tensor([[OBJECT]])), targets)
    assert samples.positive.all()
    torch.testing.assert_close(samples.weights, torch.full((1, 2), 0.3))


def samples_of(positive: list[bool]) -> Samples:
    count = len(positive)
    return Samples(
        boxes=torch.tensor([[0.2, 0.2, 0.6, 0.6]]).expand(1, count, 4),
        objects=torch.zeros(1, count, dtype=torch.int64),
        positive=torch.tensor([positive]),
        weights=torch.ones(1, count),
    )


def test_class_loss_of_uniform_logits_is_the_logarithm_of_their_number() -> None:
    losses = detection_losses(
        torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), samples_of([True, False]), one_object(OBJECT, 1)
    )
    assert losses["class"].item() == pytest.approx(math.log(4))


def test_box_loss_counts_positives_only_and_vanishes_at_the_target() -> None:
    targets = one_object(OBJECT, label=1)
    samples = samples_of([True, False])
    exact = encode(targets.boxes.expand(1, 2, 4), samples.boxes, DETECTION_WEIGHTS)
    wrong_on_negative = exact + torch.tensor([[[0.0], [9.0]]])
    wrong_on_positive = exact + torch.tensor([[[9.0], [0.0]]])
    logits = torch.zeros(1, 2, 4)
    assert detection_losses(logits, wrong_on_negative, samples, targets)["box"].item() == pytest.approx(0, abs=1e-6)
    # smooth L1 of 9 is 8.5, four numbers, mean of two samples
    assert detection_losses(logits, wrong_on_positive, samples, targets)["box"].item() == pytest.approx(17.0)


def test_proposal_without_area_gives_finite_losses() -> None:
    samples = Samples(
        torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[False]]), torch.ones(1, 1)
    )
    losses = detection_losses(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), samples, one_object(OBJECT, 1))
    assert all(math.isfinite(loss) for loss in losses.values())


def test_attribute_loss_shares_out_several_and_skips_objects_without_any() -> None:
    targets = one_object(OBJECT, label=1)
    targets.attributes[:] = True
    logits = torch.tensor([[[0.0, math.log(3.0)]]])  # probabilities 1/4 and 3/4
    loss = attribute_loss(logits, samples_of([True]), targets)
    assert loss.item() == pytest.approx(-(math.log(0.25) + math.log(0.75)) / 2)
    targets.attributes[:] = False
    assert attribute_loss(logits, samples_of([True]), targets).item() == 0
