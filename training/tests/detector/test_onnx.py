"""The exported detector in ONNX Runtime against PyTorch."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from distillvlm.export.detector_ops import DETECTOR_TRANSLATIONS
from distillvlm.modeling.detector import Detector
from distillvlm.modeling.detector.nms import nms_mask
from distillvlm.structures.regions import Regions
from tests.detector.tiny import detector_with_concepts, photos, random_boxes, tiny_detector

OUTPUTS = tuple(field.name for field in fields(Regions))


class _RegionsAsTuple(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        regions = self.detector(pixels)
        return tuple(getattr(regions, name) for name in OUTPUTS)


class _Suppression(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        return nms_mask(boxes, scores, 0.3)


def export(module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], path: Path):
    program = torch.onnx.export(
        module.eval(),
        kwargs=inputs,
        dynamo=True,
        opset_version=18,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes={name: {0: torch.export.Dim("batch", min=1, max=64)} for name in inputs},
        custom_translation_table=DETECTOR_TRANSLATIONS,
        verbose=False,
    )
    program.save(path)
    return onnxruntime.InferenceSession(path)


def test_suppression_keeps_torchvisions_survivors(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(3, 60, generator=generator)
    scores[:, 20:30] = 0.0  # ties: torchvision and ONNX Runtime both prefer the lower index
    boxes = random_boxes(3, 60)
    session = export(_Suppression(), {"boxes": boxes, "scores": scores}, ("mask",), tmp_path / "nms.onnx")
    expected = nms_mask(boxes, scores, 0.3)
    assert 0 < expected.sum() < expected.numel()
    for count in (1, 3):
        mask = session.run(None, {"boxes": boxes[:count].numpy(), "scores": scores[:count].numpy()})[0]
        assert mask.dtype == np.bool_
        assert mask.tolist() == expected[:count].tolist()


@pytest.fixture(scope="module", params=["labels", "concept head"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return tiny_detector(pool_backbone=True) if request.param == "labels" else detector_with_concepts()


@pytest.fixture(scope="module")
def session(detector: Detector, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    return export(_RegionsAsTuple(detector), {"pixels": photos(2)}, OUTPUTS, path)


def test_only_the_batch_is_dynamic(session: onnxruntime.InferenceSession) -> None:
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes["boxes"] == ["batch", 15, 4]
    assert all(isinstance(size, int) for shape in shapes.values() for size in shape[1:])


@pytest.mark.parametrize("count", [1, 3])
def test_onnx_runtime_gives_pytorchs_regions(
    session: onnxruntime.InferenceSession, detector: Detector, count: int
) -> None:
    with torch.no_grad():
        expected = detector(photos(count))
    found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"pixels": photos(count).numpy()}), strict=True))
    for name in ("labels", "attributes", "valid", "tags"):
        assert found[name].tolist() == getattr(expected, name).tolist()
    assert expected.tags.min() == -1
    assert expected.tags.max() >= 0
    for name in ("boxes", "scores", "features"):
        # sums of a few hundred fp32 products in another order
        np.testing.assert_allclose(found[name], getattr(expected, name).numpy(), atol=1e-5, rtol=1e-4)


def test_photo_alone_and_in_a_batch_gives_the_same(session: onnxruntime.InferenceSession) -> None:
    together = session.run(list(OUTPUTS), {"pixels": photos(3).numpy()})
    for photo in range(3):
        alone = session.run(list(OUTPUTS), {"pixels": photos(3)[photo : photo + 1].numpy()})
        for one, all_three in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_three[photo], atol=1e-5, rtol=1e-4)
