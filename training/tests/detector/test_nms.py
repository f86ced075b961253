from __future__ import annotations

import pytest
import torch
import torchvision.ops

from distillvlm.modeling.detector.nms import class_aware_nms_mask, nms_mask
from tests.detector.tiny import random_boxes


def test_operator_passes_pytorchs_checks_of_custom_operators() -> None:
    torch.library.opcheck(nms_mask, (random_boxes(2, 10), torch.rand(2, 10), 0.5))


def test_mask_holds_torchvisions_survivors_of_each_photo() -> None:
    boxes, scores = random_boxes(3, 60), torch.rand(3, 60, generator=torch.Generator().manual_seed(3))
    mask = nms_mask(boxes, scores, 0.3)
    assert 0 < mask.sum() < mask.numel()
    for photo in range(3):
        expected = torchvision.ops.nms(boxes[photo], scores[photo], 0.3)
        assert mask[photo].nonzero().flatten().tolist() == sorted(expected.tolist())


def test_boxes_of_other_labels_do_not_suppress_as_in_batched_nms() -> None:
    generator = torch.Generator().manual_seed(3)
    boxes, scores = random_boxes(1, 60), torch.rand(1, 60, generator=generator)
    labels = torch.randint(76, 80, (1, 60), generator=generator)
    mask = class_aware_nms_mask(boxes, scores, labels, 0.3)
    expected = torchvision.ops.batched_nms(boxes[0], scores[0], labels[0], 0.3)
    assert mask[0].nonzero().flatten().tolist() == sorted(expected.tolist())
    assert mask.sum() > nms_mask(boxes, scores, 0.3).sum()


@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_box_survives(count: int) -> None:
    assert nms_mask(torch.zeros(2, count, 4), torch.zeros(2, count), 0.5).tolist() == [[True] * count] * 2
