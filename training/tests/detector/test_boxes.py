"""Anchors and box coding against torchvision's reference implementation."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from distillvlm.modeling.detector.boxes import (
    DETECTION_WEIGHTS,
    PROPOSAL_WEIGHTS,
    decode,
    encode,
    grid_boxes,
    pairwise_iou,
    tile_anchors,
)
from tests.detector.tiny import random_boxes


def test_anchors_are_torchvisions_moved_to_the_cells_centres() -> None:
    height, width, strides = 128, 64, (8, 16)
    scales, ratios = (2.0, 3.0), (0.5, 1.0, 2.0)
    generator = AnchorGenerator(tuple(tuple(s * scale for scale in scales) for s in strides), (ratios,) * len(strides))
    # torchvision rounds its cell anchors to whole pixels and orders ratios before scales
    generator.cell_anchors = [generator.generate_anchors([s * scale for scale in scales], ratios) / 1 for s in strides]
    maps = [torch.zeros(1, 1, height // s, width // s) for s in strides]
    expected = generator(ImageList(torch.zeros(1, 3, height, width), [(height, width)]), maps)[0]
    shift = torch.cat([torch.full((height // s * (width // s) * 6, 4), s / 2) for s in strides])

    ours = tile_anchors((height, width), strides, scales, ratios) * torch.tensor([width, height, width, height])

    by_cell = (ours.unflatten(0, (-1, 2, 3)).transpose(1, 2)).flatten(0, 2)
    torch.testing.assert_close(by_cell, expected + shift, atol=0.51, rtol=0)


def test_anchor_has_area_of_its_scale_and_ratio_of_height_to_width() -> None:
    x1, y1, x2, y2 = (tile_anchors((64, 64), (64,), (0.5,), (4.0,))[0] * 64).tolist()
    assert (x1, y1, x2, y2) == pytest.approx((24, 0, 40, 64))


@pytest.mark.parametrize("weights", [PROPOSAL_WEIGHTS, DETECTION_WEIGHTS])
def test_deltas_are_torchvisions_and_decode_back(weights: tuple[float, float]) -> None:
    boxes, references = random_boxes(50, seed=1), random_boxes(50, seed=2)
    deltas = encode(boxes, references, weights)
    coder = BoxCoder((weights[0], weights[0], weights[1], weights[1]))
    torch.testing.assert_close(deltas, coder.encode_single(boxes, references))
    torch.testing.assert_close(decode(deltas, references, weights), boxes)


def test_decoded_boxes_are_cut_at_the_photo_and_at_the_largest_size() -> None:
    deltas = torch.tensor([[0.0, 0.0, 100.0, 100.0], [-50.0, 0.0, 0.0, 0.0]])
    references = torch.tensor([[0.4, 0.4, 0.6, 0.6], [0.4, 0.4, 0.6, 0.6]])
    assert decode(deltas, references, PROPOSAL_WEIGHTS).tolist() == [
        pytest.approx([0, 0, 1, 1]),
        pytest.approx([0, 0.4, 0, 0.6]),
    ]


def test_iou_of_boxes_without_area_is_zero() -> None:
    point = torch.tensor([[[0.5, 0.5, 0.5, 0.5]]])
    assert pairwise_iou(point, point).item() == 0.0


def test_grid_starts_with_the_whole_photo_then_goes_row_by_row() -> None:
    assert grid_boxes(2).tolist() == [
        [0, 0, 1, 1],
        [0, 0, 0.5, 0.5],
        [0.5, 0, 1, 0.5],
        [0, 0.5, 0.5, 1],
        [0.5, 0.5, 1, 1],
    ]
