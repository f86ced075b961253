"""ONNX translation of the detector's own operator, for `torch.onnx.export(custom_translation_table=...)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18

import distillvlm.modeling.detector.nms  # noqa: F401  registers torch.ops.distillvlm.nms_mask

# opset18 is typed by constants, which can stand for no variable
op: Any = opset18


def nms_mask(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """`distillvlm::nms_mask` as NonMaxSuppression over one class, its index triples scattered into a mask.

    NonMaxSuppression reads corners as y, x, y, x; IoU is the same with the axes swapped.
    """
    one_class = op.Unsqueeze(scores, op.Constant(value_ints=[1]))
    most = op.Shape(scores, start=1, end=2)
    selected = op.NonMaxSuppression(boxes, one_class, most, op.Constant(value_floats=[iou_threshold]))
    photo_and_box = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)
    none = op.Expand(op.Constant(value_int=0), op.Shape(scores))
    ones = op.Expand(op.Constant(value_int=1), op.Shape(selected, start=0, end=1))
    return op.Cast(op.ScatterND(none, photo_and_box, ones), to=9)  # 9: bool


DETECTOR_TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.distillvlm.nms_mask.default: nms_mask,
}
