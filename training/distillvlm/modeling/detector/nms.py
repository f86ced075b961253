"""Non-maximum suppression as a mask, so that every shape of the detector stays static.

`distillvlm::nms_mask` is one operator of its own: PyTorch runs torchvision's kernel, ONNX gets its NonMaxSuppression
(`distillvlm.export.detector_ops`), and both give the same mask.
"""

# Shapes: B photos, N boxes.
from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("distillvlm::nms_mask", mutates_args=())
def nms_mask(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """True where a box survives: bool [B, N].

    boxes: float32 [B, N, 4], x1, y1, x2, y2. scores: float32 [B, N]; ties go to the lower index.
    A box falls if its IoU with a surviving box of higher score is above the threshold.
    """
    kept = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    for photo in range(boxes.shape[0]):
        kept[photo, nms(boxes[photo], scores[photo], iou_threshold)] = True
    return kept


@nms_mask.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty(scores.shape, dtype=torch.bool, device=scores.device)


def class_aware_nms_mask(boxes_BN4: Tensor, scores_BN: Tensor, labels_BN: Tensor, iou_threshold: float) -> Tensor:
    """As `nms_mask`, among boxes of the same label only; boxes must lie in 0-1.

    Each label's boxes are moved to a unit square of their own, where other labels' can't overlap them.
    """
    offset = labels_BN[..., None].to(boxes_BN4.dtype)
    return nms_mask(boxes_BN4 + offset, scores_BN, iou_threshold)
