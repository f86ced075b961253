"""How weights lie in a bundle: large parameters as fp16, which a session casts once; equal ones of all graphs once.

Buffers (anchors, statistics of batch norm) stay as they are.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TypeVar

import onnx_ir as ir
import torch
from torch import nn

# Below 4 KB the Cast costs as much as it saves; norms and biases stay fp32 so.
FP16_THRESHOLD_BYTES = 4096
ALIGNMENT_BYTES = 64  # a cache line

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def round_to_fp16(module: ModuleType) -> ModuleType:
    """A copy of the module in eval mode whose weights have the values that a bundle stores, as fp32.

    Raises:
        ValueError: a weight is too large for fp16; names it.
    """
    rounded = copy.deepcopy(module).eval()
    with torch.no_grad():
        for name, parameter in rounded.named_parameters():
            if parameter.dtype == torch.float32 and parameter.nbytes >= FP16_THRESHOLD_BYTES:
                values = parameter.half()
                if not bool(values.isfinite().all()):
                    raise ValueError(
                        f"Expected weights below 65504 for {name} but received {parameter.abs().max():.3g}"
                    )
                parameter.copy_(values)
    return rounded


def store_as_fp16(model: ir.Model, parameters: Collection[str]) -> None:
    """Replaces those initialisers of the main graph that are large fp32 parameters by their fp16 values and a Cast."""
    graph = model.graph
    casts = []
    for value in list(graph.initializers.values()):
        assert value.const_value is not None
        assert value.name is not None
        name = value.name
        if name not in parameters or value.dtype != ir.DataType.FLOAT:
            continue
        if value.const_value.nbytes < FP16_THRESHOLD_BYTES:
            continue
        half = ir.tensor(value.const_value.numpy().astype("float16"), name=name)
        stored = ir.Value(name=name, shape=value.shape, type=ir.TensorType(ir.DataType.FLOAT16), const_value=half)
        cast = ir.node("Cast", [stored], attributes={"to": ir.DataType.FLOAT})
        cast.outputs[0].name, cast.outputs[0].shape, cast.outputs[0].dtype = f"{name}.fp32", value.shape, value.dtype
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        del graph.initializers[name]
        graph.register_initializer(stored)
        casts.append(cast)
    if casts and len(graph):
        graph.insert_before(graph[0], casts)


def share_weights(models: Iterable[ir.Model], path: Path) -> None:
    """Moves the large initialisers of several models into one file at `path`, equal ones once, and refers to it.

    The models must be saved beside the file.
    """
    offsets: dict[str, int] = {}
    with path.open("wb") as file:
        for model in models:
            for value in model.graph.initializers.values():
                tensor = value.const_value
                assert tensor is not None
                assert value.name is not None
                if tensor.nbytes < FP16_THRESHOLD_BYTES // 2:
                    continue
                content = tensor.tobytes()
                key = hashlib.sha256(content).hexdigest()
                if key not in offsets:
                    file.seek(-file.tell() % ALIGNMENT_BYTES, 1)
                    offsets[key] = file.tell()
                    file.write(content)
                value.const_value = ir.ExternalTensor(
                    path.name,
                    offsets[key],
                    len(content),
                    tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()),
                    name=value.name,
                    base_dir=path.parent,
                )
