"""The region proposal network.

Source: Ren et al. 2015, Faster R-CNN, arXiv:1506.01497; the head shared over levels as in FPN, arXiv:1612.03144.
"""

# Shapes: B photos, A anchors, K candidates, P proposals, C channels.
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from distillvlm.modeling.detector.boxes import PROPOSAL_WEIGHTS, decode
from distillvlm.modeling.detector.nms import nms_mask
from distillvlm.modeling.detector.pyramid import SeparableConv

# of a fresh network, so that the focal loss doesn't start from thousands of false alarms (RetinaNet, section 4.1)
_PRIOR_OBJECTNESS = 0.01


@dataclass(frozen=True)
class Proposals:
    """boxes: float32 [B, P, 4], shares of the photo, best first. valid: bool [B, P], false past the survivors."""

    boxes: Tensor
    valid: Tensor


class RegionProposalNetwork(nn.Module):
    """Objectness and deltas of every anchor, by one head on all levels."""

    def __init__(self, channels: int, anchors_per_cell: int) -> None:
        super().__init__()
        self.conv = SeparableConv(channels)
        self.objectness = nn.Conv2d(channels, anchors_per_cell, 1)
        self.deltas = nn.Conv2d(channels, 4 * anchors_per_cell, 1)
        bias = math.log(_PRIOR_OBJECTNESS / (1 - _PRIOR_OBJECTNESS))
        for layer, value in ((self.objectness, bias), (self.deltas, 0.0)):
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, value)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns float32 logits [B, A] and deltas [B, A, 4] in the order of `boxes.anchors`."""
        logits, deltas = [], []
        for each in maps:
            hidden = functional.relu6(self.conv(each))
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).flatten(1).unflatten(-1, (-1, 4)))
        return torch.cat(logits, dim=1).float(), torch.cat(deltas, dim=1).float()


def select_proposals(
    logits_BA: Tensor, deltas_BA4: Tensor, anchors_A4: Tensor, num_candidates: int, num_proposals: int, iou: float
) -> Proposals:
    """The best anchors after suppression of those that overlap a better one by more than `iou`."""
    scores_BK, index_BK = logits_BA.topk(min(num_candidates, logits_BA.shape[1]), dim=1)
    deltas_BK4 = deltas_BA4.gather(1, index_BK[..., None].expand(-1, -1, 4))
    boxes_BK4 = decode(deltas_BK4, anchors_A4[index_BK], PROPOSAL_WEIGHTS)
    kept_BK = nms_mask(boxes_BK4, scores_BK, iou)
    # candidates are sorted: the rank among the kept decides, and the suppressed come last
    num_kept = scores_BK.shape[1]
    order = torch.arange(num_kept, 0, -1, device=scores_BK.device, dtype=torch.float32)
    rank_BP, best_BP = (kept_BK * order).topk(min(num_proposals, num_kept), dim=1)
    return Proposals(boxes_BK4.gather(1, best_BP[..., None].expand(-1, -1, 4)), rank_BP > 0)
