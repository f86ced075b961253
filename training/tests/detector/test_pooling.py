"""RoIAlign as matrix products against torchvision's kernel."""

from __future__ import annotations

import pytest
import torch
import torchvision.ops
from torchvision.ops.poolers import initLevelMapper

from distillvlm.modeling.detector.pooling import assign_levels, multi_level_roi_align, roi_align
from tests.detector.tiny import random_boxes

BORDER_BOXES = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.02, 0.02], [0.95, 0.9, 1.0, 1.0], [0.3, 0.3, 0.3, 0.3]])


@pytest.mark.parametrize(("bins", "samples"), [(4, 2), (7, 1), (1, 4)])
def test_pools_as_torchvision_does_within_and_at_the_borders(bins: int, samples: int) -> None:
    torch.manual_seed(0)
    feature_map = torch.randn(2, 5, 6, 9)  # higher and wider differ: swapped axes would show
    boxes = torch.cat([random_boxes(2, 20), BORDER_BOXES.expand(2, -1, -1)], dim=1)
    cells = boxes * torch.tensor([9.0, 6.0, 9.0, 6.0])
    expected = torchvision.ops.roi_align(feature_map, list(cells), bins, sampling_ratio=samples, aligned=True)

    pooled = roi_align(feature_map, boxes, bins, samples)

    # both sum up to 16 products in fp32
    torch.testing.assert_close(pooled.permute(0, 1, 4, 2, 3).flatten(0, 1), expected, atol=1e-5, rtol=1e-5)


def test_whole_photo_at_one_sample_for_two_cells_is_the_mean_of_the_map() -> None:
    torch.manual_seed(0)
    feature_map = torch.randn(1, 3, 8, 8)
    pooled = roi_align(feature_map, torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), bins=1, samples=4)
    torch.testing.assert_close(pooled.flatten(), feature_map.mean(dim=(2, 3)).flatten(), atol=1e-6, rtol=1e-5)


def test_levels_are_feature_pyramid_networks_with_128_px_on_stride_16() -> None:
    boxes = torch.cat([random_boxes(1, 200), BORDER_BOXES[None, :3]], dim=1)
    # 4 bins of 2 x 2 samples span 8 cells, 128 px, at stride 16 = 2 ** 4
    mapper = initLevelMapper(3, 6, canonical_scale=128, canonical_level=4)
    expected = mapper([boxes[0] * 512])
    assert assign_levels(boxes, (512, 512), (8, 16, 32, 64), bins=4)[0].tolist() == expected.tolist()


def test_each_box_reads_its_own_level_only() -> None:
    maps = [torch.full((1, 2, 16, 16), 1.0), torch.full((1, 2, 8, 8), 2.0)]
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]]])  # 64 and 128 px
    pooled = multi_level_roi_align(maps, boxes, (128, 128), (8, 16), bins=4)
    assert pooled[0, 0].unique().item() == pytest.approx(1.0)
    assert pooled[0, 1].unique().item() == pytest.approx(2.0)
