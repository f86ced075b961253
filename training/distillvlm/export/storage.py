"""How weights lie in a bundle: large parameters in few bits, which a session turns into fp32 once; equal ones once.

Buffers (anchors, statistics of batch norm) stay as they are. Calculation is fp32 in any case, so what a photo gets does
not depend on its batch.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

# int8: matrices and kernels have a scale for each row (output channel, word); the rest is fp16.
Storage = Literal["fp32", "fp16", "int8"]

# Below 4 KB the Cast costs as much as it saves; norms and biases stay fp32 so.
LARGE_BYTES = 4096
ALIGNMENT_BYTES = 64  # a cache line
TRAINED = "distillvlm.trained"  # mark of the initialisers that are parameters

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def rounded(module: ModuleType, storage: Storage) -> ModuleType:
    """A copy of the module in eval mode whose weights have the values that a bundle stores, as fp32.

    Raises:
        ValueError: a weight is too large for fp16; names it.
    """
    copied = copy.deepcopy(module).eval()
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            if storage == "fp32" or parameter.dtype != torch.float32 or parameter.nbytes < LARGE_BYTES:
                continue
            if storage == "int8" and parameter.dim() > 1:
                steps, scales = _in_steps(parameter)
                parameter.copy_(steps * scales)
            else:
                parameter.copy_(_half(name, parameter))
    return copied


def store(model: ir.Model, storage: Storage) -> None:
    """Replaces the large parameters among the initialisers of the main graph by what is stored and the nodes that make
    fp32 of it. The weights are those of a `rounded` module."""
    graph = model.graph
    nodes: list[ir.Node] = []
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        assert tensor is not None
        assert value.name is not None
        if value.metadata_props.pop(TRAINED, None) is None or storage == "fp32" or tensor.nbytes < LARGE_BYTES:
            continue
        weights = torch.from_numpy(tensor.numpy())
        if storage == "int8" and weights.dim() > 1:
            steps, scales = _in_steps(weights)
            stored = [_initializer(value, "", steps.to(torch.int8)), _initializer(value, ".scale", scales)]
        else:
            stored = [_initializer(value, "", weights.half())]
        made = _as_float(value, stored)
        ir.convenience.replace_all_uses_with(value, made[-1].outputs[0])
        del graph.initializers[value.name]
        for one in stored:
            graph.register_initializer(one)
        nodes += made
    if nodes and len(graph):
        graph.insert_before(graph[0], nodes)


def _half(name: str, weights: Tensor) -> Tensor:
    values = weights.half()
    if not bool(values.isfinite().all()):
        raise ValueError(f"Expected weights below 65504 for {name} but received {weights.abs().max():.3g}")
    return values


def _in_steps(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers from -127 to 127, and the scale of each row; of weights that are such already, the same."""
    rows = tuple(range(1, weights.dim()))
    scales = weights.abs().amax(rows, keepdim=True) / 127
    scales = torch.where(scales == 0, 1.0, scales)
    return (weights / scales).round().clamp(-127, 127), scales


def _initializer(value: ir.Value, suffix: str, content: Tensor) -> ir.Value:
    tensor = ir.tensor(np.ascontiguousarray(content.numpy()), name=f"{value.name}{suffix}")
    shape = ir.Shape(tuple(content.shape))
    return ir.Value(name=tensor.name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)


def _as_float(value: ir.Value, stored: list[ir.Value]) -> list[ir.Node]:
    """Nodes that make the value's fp32 of what is stored; the last one's output stands for the value."""
    assert value.dtype is not None
    nodes = [ir.node("Cast", stored[:1], attributes={"to": ir.DataType.FLOAT})]
    if len(stored) > 1:
        nodes.append(ir.node("Mul", [nodes[0].outputs[0], stored[1]]))
    for number, node in enumerate(nodes):
        output = node.outputs[0]
        output.name = f"{value.name}.fp32" if node is nodes[-1] else f"{value.name}.steps{number}"
        output.shape, output.dtype = value.shape, value.dtype
    return nodes


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
                if tensor.nbytes < LARGE_BYTES // 4:
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
