"""Targets of the two stages and their losses. Nothing is drawn at random, so a step depends on its batch alone.

What is "per" something is so over the photos of all processes.
"""

# Shapes: B photos, N boxes (anchors or proposals), M objects, S sampled proposals, L labels.
from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from distillvlm.losses.processes import global_mean
from distillvlm.modeling.detector.boxes import DETECTION_WEIGHTS, PROPOSAL_WEIGHTS, encode, pairwise_iou
from distillvlm.modeling.detector.proposals import Proposals

ANCHOR_POSITIVE_IOU, ANCHOR_NEGATIVE_IOU = 0.5, 0.4  # RetinaNet's, whose focal loss the proposals use
PROPOSAL_POSITIVE_IOU = 0.5
NUM_SAMPLES = 64  # proposals a photo on which the box head learns
MAX_POSITIVE_SAMPLES = 24
PROPOSAL_BOX_BETA = 1 / 9  # where smooth L1 turns linear, as in torchvision's RPN


@dataclass(frozen=True)
class DetectionTargets:
    """Objects of B photos, padded to M with weight 0.

    boxes: float32 [B, M, 4], shares of the photo with positive sides (padding too).
    labels: int64 [B, M]. attributes: bool [B, M, attributes].
    weights: float32 [B, M], the annotation's trust: 1 for people's, the score for a machine's, 0 for padding.
    """

    boxes: Tensor
    labels: Tensor
    attributes: Tensor
    weights: Tensor

    def to(self, device: torch.device | str) -> DetectionTargets:
        return DetectionTargets(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True)
class Samples:
    """Proposals that the box head learns from.

    boxes: [B, S, 4]. objects: int64 [B, S], the object of the best IoU. positive: bool [B, S].
    weights: [B, S], 0 where there were fewer than S.
    """

    boxes: Tensor
    objects: Tensor
    positive: Tensor
    weights: Tensor


def _at(values_BM: Tensor, index_BN: Tensor) -> Tensor:
    """values[b, index[b, n]] for any trailing dimensions."""
    photos = torch.arange(values_BM.shape[0], device=values_BM.device)[:, None]
    return values_BM[photos, index_BN]


def _iou_with_objects(boxes_BN4: Tensor, targets: DetectionTargets) -> Tensor:
    """IoU [B, N, M], 0 at padding."""
    return pairwise_iou(boxes_BN4, targets.boxes) * (targets.weights > 0)[:, None]


def proposal_losses(
    logits_BA: Tensor, deltas_BA4: Tensor, anchors_A4: Tensor, targets: DetectionTargets
) -> dict[str, Tensor]:
    """Focal loss of objectness and smooth L1 of deltas over positive anchors, both per positive anchor."""
    anchors_BA4 = anchors_A4.expand(len(logits_BA), -1, -1)
    iou_BAM = _iou_with_objects(anchors_BA4, targets)
    best_BA, object_BA = iou_BAM.max(dim=2)
    # an object that no anchor overlaps well still gets its best anchors
    best_of_object_BM = iou_BAM.amax(dim=1)
    rescued_BAM = (iou_BAM == best_of_object_BM[:, None]) & (iou_BAM > 0)
    rescued_BA, rescuer_BA = rescued_BAM.max(dim=2)
    positive_BA = (best_BA >= ANCHOR_POSITIVE_IOU) | rescued_BA
    object_BA = torch.where(rescued_BA, rescuer_BA, object_BA)
    negative_BA = (best_BA < ANCHOR_NEGATIVE_IOU) & ~positive_BA

    weight_BA = _at(targets.weights, object_BA) * positive_BA
    focal_BA = sigmoid_focal_loss(logits_BA, positive_BA.float())
    target_BA4 = encode(_at(targets.boxes, object_BA), anchors_BA4, PROPOSAL_WEIGHTS)
    box_BA = functional.smooth_l1_loss(deltas_BA4, target_BA4, reduction="none", beta=PROPOSAL_BOX_BETA).sum(dim=-1)
    total = weight_BA.sum()
    return {
        "proposal_objectness": global_mean((focal_BA * (weight_BA + negative_BA)).sum(), total),
        "proposal_box": global_mean((box_BA * weight_BA).sum(), total),
    }


def sample_proposals(proposals: Proposals, targets: DetectionTargets) -> Samples:
    """Up to NUM_SAMPLES of proposals and the objects' own boxes: positives first, then the most object-like negatives.

    The objects' boxes come after the proposals, so they fill in while the proposals are still poor.
    """
    boxes_BN4 = torch.cat([proposals.boxes, targets.boxes], dim=1)
    usable_BN = torch.cat([proposals.valid, targets.weights > 0], dim=1)
    best_BN, object_BN = _iou_with_objects(boxes_BN4, targets).max(dim=2)
    positive_BN = (best_BN >= PROPOSAL_POSITIVE_IOU) & usable_BN
    positive_BN &= positive_BN.cumsum(dim=1) <= MAX_POSITIVE_SAMPLES
    negative_BN = (best_BN < PROPOSAL_POSITIVE_IOU) & usable_BN

    num_boxes = boxes_BN4.shape[1]
    order_N = torch.arange(num_boxes, 0, -1, device=boxes_BN4.device)
    rank_BN = order_N * (positive_BN | negative_BN) + num_boxes * positive_BN
    rank_BS, index_BS = rank_BN.topk(min(NUM_SAMPLES, num_boxes), dim=1)
    objects_BS, positive_BS = _at(object_BN, index_BS), _at(positive_BN, index_BS)
    weights_BS = torch.where(positive_BS, _at(targets.weights, objects_BS), (rank_BS > 0).float())
    return Samples(_at(boxes_BN4, index_BS), objects_BS, positive_BS, weights_BS)


def detection_losses(
    logits_BSL: Tensor, deltas_BS4: Tensor, samples: Samples, targets: DetectionTargets
) -> dict[str, Tensor]:
    """Cross-entropy over labels and background (last), and smooth L1 of the positives' deltas, per sample."""
    background = logits_BSL.shape[-1] - 1
    labels_BS = torch.where(samples.positive, _at(targets.labels, samples.objects), background)
    class_BS = functional.cross_entropy(logits_BSL.flatten(0, 1), labels_BS.flatten(), reduction="none").view_as(
        labels_BS
    )
    objects_BS4 = _at(targets.boxes, samples.objects)
    # negatives have no deltas to learn, and a proposal without area would give them infinite ones
    references_BS4 = torch.where(samples.positive[..., None], samples.boxes, objects_BS4)
    target_BS4 = encode(objects_BS4, references_BS4, DETECTION_WEIGHTS)
    box_BS = functional.smooth_l1_loss(deltas_BS4, target_BS4, reduction="none").sum(dim=-1)
    total = samples.weights.sum()
    return {
        "class": global_mean((class_BS * samples.weights).sum(), total),
        "box": global_mean((box_BS * samples.weights * samples.positive).sum(), total),
    }


def attribute_loss(logits_BSA: Tensor, samples: Samples, targets: DetectionTargets) -> Tensor:
    """Cross-entropy to the object's attributes in equal shares, mean over positives whose object has any."""
    attributes_BSA = _at(targets.attributes, samples.objects).float()
    count_BS = attributes_BSA.sum(dim=-1)
    weight_BS = samples.weights * samples.positive * (count_BS > 0)
    share_BSA = attributes_BSA / count_BS.clamp(min=1.0)[..., None]
    loss_BS = -(share_BSA * logits_BSA.log_softmax(dim=-1)).sum(dim=-1)
    return global_mean((loss_BS * weight_BS).sum(), weight_BS.sum())
