from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, roi_align

from distillvlm.modeling.detector import DetectionTargets, Detector, DetectorConfig
from distillvlm.modeling.detector.companions import Companion
from distillvlm.modeling.detector.heads import BINS, BoxHead
from tests.detector.tiny import CONFIG, LABELS, one_object, photos, random_boxes, tiny_detector


@torch.no_grad()
def test_regions_are_the_grid_then_detections_best_first_then_padding() -> None:
    regions = tiny_detector(score_threshold=0.4)(photos(3))
    detected = regions.valid[:, 5:]
    assert regions.boxes.shape == (3, 15, 4)
    assert regions.boxes[:, 0].tolist() == [[0, 0, 1, 1]] * 3
    assert regions.valid[:, :5].all()
    assert (regions.labels[:, :5] == -1).all()
    assert 0 < detected.sum() < detected.numel()
    assert (regions.scores[:, 5:].diff(dim=1) <= 0).all()
    assert (regions.scores[:, 5:][detected] >= 0.4).all()
    padding = ~regions.valid
    assert (regions.labels[padding] == -1).all()
    assert (regions.attributes[padding] == -1).all()
    assert regions.features[padding].abs().sum() == 0
    assert regions.scores[padding].abs().sum() == 0
    assert ((regions.boxes >= 0) & (regions.boxes <= 1)).all()


@torch.no_grad()
def test_detections_of_one_label_do_not_overlap_beyond_the_threshold() -> None:
    regions = tiny_detector()(photos(2))
    for photo in range(2):
        for label in range(len(LABELS)):
            boxes = regions.boxes[photo][regions.labels[photo] == label]
            overlap = box_iou(boxes, boxes) - torch.eye(len(boxes))
            assert (overlap <= CONFIG.detection_iou + 1e-6).all()


@torch.no_grad()
def test_features_at_its_own_boxes_are_its_own_features() -> None:
    detector = tiny_detector(pool_backbone=True, semantic_head=True)
    regions = detector(photos(2))
    assert regions.features.shape[-1] == detector.feature_size == 16 + detector.backbone.head_channels
    again = detector.features_at(photos(2), regions.boxes, regions.valid)
    torch.testing.assert_close(again, regions.features)


@torch.no_grad()
def test_semantic_head_reads_the_backbones_map_without_passing_it_on() -> None:
    detector = tiny_detector(semantic_head=True)
    everywhere = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    before = detector.features_at(photos(1), everywhere, torch.tensor([[True]]))
    assert before.shape[-1] == detector.feature_size == 16
    detector.backbone.model.bn2 = torch.nn.Identity()  # another classifier map, the same pyramid
    assert not torch.allclose(detector.features_at(photos(1), everywhere, torch.tensor([[True]])), before)


@torch.no_grad()
def test_a_normalised_semantic_head_does_not_see_how_loud_a_box_is() -> None:
    head = BoxHead(channels=2, head_size=16, num_labels=3, semantic_channels=8, semantic_norm=True)
    pooled, semantic = torch.randn(1, 4, BINS, BINS, 2), torch.randn(1, 4, 8)
    torch.testing.assert_close(head(pooled, 5 * semantic + 3), head(pooled, semantic), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(head(pooled, semantic.flip(-1)), head(pooled, semantic), atol=1e-2)


@torch.no_grad()
def test_another_detectors_boxes_may_be_fewer_and_padding_is_zero() -> None:
    detector = tiny_detector()
    valid = torch.tensor([[True, False, True]])
    features = detector.features_at(photos(1), random_boxes(1, 3), valid)
    assert features.shape == (1, 3, 16)
    assert features.abs().sum(dim=-1).gt(0).tolist() == valid.tolist()


@torch.no_grad()
def test_photo_alone_and_in_a_batch_gives_the_same() -> None:
    detector = tiny_detector(pool_backbone=True)
    together, alone = detector(photos(3)), detector(photos(3)[1:2])
    assert alone.labels.tolist() == together[1:2].labels.tolist()
    assert alone.tags.tolist() == together[1:2].tags.tolist()
    torch.testing.assert_close(alone.boxes, together[1:2].boxes)
    # convolutions of another batch size may sum in another order
    torch.testing.assert_close(alone.features, together[1:2].features, atol=1e-5, rtol=1e-4)


def without_gradient(module: torch.nn.Module) -> list[str]:
    """Weights that should learn and get no gradient, or nothing but zeros."""
    learning = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    return [name for name, value in learning if value.grad is None or not value.grad.any()]


@pytest.mark.parametrize("semantic_head", [False, True])
def test_losses_reach_every_weight_but_the_frozen_backbones(semantic_head: bool) -> None:
    detector = tiny_detector(semantic_head=semantic_head).train()
    before = {name: value.clone() for name, value in detector.backbone.state_dict().items()}
    losses = detector.losses(photos(4), one_object((0.1, 0.1, 0.6, 0.7), label=2, photos=4))
    assert set(losses) == {"proposal_objectness", "proposal_box", "class", "box", "attribute"}
    torch.stack(list(losses.values())).sum().backward()
    assert without_gradient(detector) == []
    assert all(value.grad is None for value in detector.backbone.parameters())
    assert all(torch.equal(before[name], value) for name, value in detector.backbone.state_dict().items())


def test_unfrozen_backbone_learns_too() -> None:
    detector = tiny_detector(freeze_backbone=False).train()
    losses = detector.losses(photos(4), one_object((0.1, 0.1, 0.6, 0.7), label=2, photos=4))
    torch.stack(list(losses.values())).sum().backward()
    assert without_gradient(detector) == []


def test_padded_objects_change_no_loss_and_no_gradient() -> None:
    def losses_and_gradients(targets: DetectionTargets) -> tuple[torch.Tensor, ...]:
        detector = tiny_detector()
        losses = detector.losses(photos(2), targets)
        torch.stack(list(losses.values())).sum().backward()
        return (
            *[loss.detach() for loss in losses.values()],
            *[p.grad for p in detector.parameters() if p.requires_grad],
        )

    targets = one_object((0.1, 0.1, 0.6, 0.7), label=2, photos=2)
    pad = torch.nn.functional.pad
    padded = DetectionTargets(
        boxes=torch.cat([targets.boxes, torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(2, 3, 4)], dim=1),
        labels=pad(targets.labels, (0, 3)),
        attributes=pad(targets.attributes, (0, 0, 0, 3), value=True),
        weights=pad(targets.weights, (0, 3)),
    )
    for ours, theirs in zip(losses_and_gradients(padded), losses_and_gradients(targets), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_losses_depend_on_the_batch_alone_and_are_finite_in_bfloat16() -> None:
    detector = tiny_detector().train()
    targets = one_object((0.1, 0.1, 0.6, 0.7), label=2, photos=4)
    first = detector.losses(photos(4), targets)
    assert detector.losses(photos(4), targets) == first
    with torch.autocast("cpu", torch.bfloat16):
        half = detector.losses(photos(4), targets)
    for name, loss in half.items():
        # bfloat16 keeps 8 bits, and other proposals may be sampled
        torch.testing.assert_close(loss, first[name], atol=0.1, rtol=0.2)


CONFIG_TRAINED = DetectorConfig(
    labels=("ball", "box"),
    attributes=("red", "blue"),
    backbone="test_efficientnet",
    pretrained=None,
    freeze_backbone=False,
    image_size=(64, 64),
    pyramid_channels=24,
    pyramid_layers=1,
    num_proposals=16,
    num_candidates=64,
    head_size=32,
    num_regions=4,
    num_tags=2,
)


def square_photos(count: int) -> tuple[Tensor, DetectionTargets]:
    """Grey photos with one bright square each, red (ball) or blue (box), at changing places."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.full((count, 64, 64, 3), 90, dtype=torch.uint8)
    corners = torch.randint(0, 36, (count, 2), generator=generator)
    kinds = torch.arange(count) % 2
    for photo, ((x, y), kind) in enumerate(zip(corners.tolist(), kinds.tolist(), strict=True)):
        pixels[photo, y : y + 28, x : x + 28] = torch.tensor([230, 20, 20] if kind == 0 else [20, 20, 230])
    boxes = torch.cat([corners, corners + 28], dim=1)[:, None] / 64
    attributes = torch.nn.functional.one_hot(kinds, 2).bool()[:, None]
    return pixels, DetectionTargets(boxes, kinds[:, None], attributes, torch.ones(count, 1))


def test_learns_to_find_name_and_describe_squares_on_unseen_photos() -> None:
    torch.manual_seed(0)
    detector = Detector(CONFIG_TRAINED).train()
    pixels, targets = square_photos(24)
    optimizer = torch.optim.AdamW([p for p in detector.parameters() if p.requires_grad], lr=3e-3)
    seen = slice(0, 16)
    batch = DetectionTargets(targets.boxes[seen], targets.labels[seen], targets.attributes[seen], targets.weights[seen])
    for _ in range(80):
        loss = torch.stack(list(detector.losses(pixels[seen], batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        regions = detector.eval()(pixels[16:])
    assert regions.labels[:, 0].tolist() == targets.labels[16:, 0].tolist()
    assert regions.attributes[:, 0].tolist() == targets.labels[16:, 0].tolist()
    overlap = box_iou(regions.boxes[:, 0], targets.boxes[16:, 0]).diag()
    assert overlap.median() > 0.6


def test_photos_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(64, 64\)"):
        tiny_detector()(torch.zeros(1, 64, 128, 3, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("change", "field"),
    [({"image_size": (100, 64)}, "image_size"), ({"labels": ()}, "labels"), ({"num_regions": 5}, "num_regions")],
)
def test_impossible_settings_are_refused_by_name(change: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        tiny_detector(**change)


@torch.no_grad()
def test_companions_describe_the_boxes_behind_the_detectors_own_features() -> None:
    torch.manual_seed(0)
    companions = (
        Companion("mobilenetv2_050", None, (64, 64)),
        Companion("vit_tiny_patch16_224", None, (224, 224)),
    )
    detector = tiny_detector(companions=companions)
    detector.companions.train()
    assert detector.feature_size == 16 + 1280 + 192
    boxes, valid = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.25, 0.25, 0.75, 0.75]]]), torch.tensor([[True, True]])
    features = detector.features_at(photos(1), boxes, valid)
    network = detector.companions[0].model
    assert not network.training
    resized = functional.interpolate(photos(1).permute(0, 3, 1, 2) / 127.5 - 1, (64, 64), mode="bilinear")
    torch.testing.assert_close(
        features[0, 0, 16:1296], roi_align_mean(network.forward_features(resized)), atol=1e-4, rtol=1e-3
    )
    assert not torch.allclose(features[0, 0, 1296:], features[0, 1, 1296:])


def roi_align_mean(map_BCHW: Tensor) -> Tensor:
    """torchvision's, over the whole photo."""
    height, width = map_BCHW.shape[-2:]
    box = torch.tensor([[0.0, 0.0, 0.0, width, height]])
    return roi_align(map_BCHW, box, output_size=1, sampling_ratio=BINS, aligned=True).flatten()
