"""Graphs that calculate in float16 where a GPU gains by it: products and convolutions, and what only passes them on.

The rest (softmax, norms of layers, logarithms, boxes) stays float32, as under PyTorch's autocast; so do inputs and
outputs. onnxruntime's own converter is not used: it breaks the search's Loop and the detector's suppression.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
# Not worth a change of type by themselves.
FOLLOWERS = frozenset({"Add", "BatchNormalization", "Clip", "MaxPool", "Pad", "Relu"})
LARGEST = float(np.finfo(np.float16).max)


def in_half_precision(model: ir.Model) -> ir.Model:
    """A copy of the model whose products are float16, but for those with a constant that float16 cannot hold."""
    copied = model.clone()
    halves = _Halves()
    for node in list(ir.traversal.RecursiveGraphIterator(copied.graph)):
        if halves.should_convert(node):
            halves.convert(node)
    passes.RemoveUnusedNodesPass()(copied)
    return copied


class _Halves:
    """The float16 twins of a model's values, each in the graph of its value, be that the Loop's body or around it."""

    def __init__(self) -> None:
        self.twins: dict[ir.Value, ir.Value] = {}
        self.calculated: set[ir.Value] = set()  # those that a float16 node gave; they are Casts of their twins

    def should_convert(self, node: ir.Node) -> bool:
        floats = [value for value in node.inputs if _is_float(value)]
        if not floats or not all(map(_fits, floats)):
            return False
        varying = [value for value in floats if value.const_value is None and _stored_half(value) is None]
        follows = node.op_type in FOLLOWERS and bool(varying) and self.calculated.issuperset(varying)
        return node.op_type in PRODUCTS or follows

    def convert(self, node: ir.Node) -> None:
        inputs = [self.twin(value) if _is_float(value) else value for value in node.inputs]
        half = ir.node(node.op_type, inputs, node.attributes, num_outputs=1)
        (old,), (twin,), graph = node.outputs, half.outputs, node.graph
        assert graph is not None
        twin.name, twin.shape, twin.dtype = f"{old.name}.fp16", old.shape, ir.DataType.FLOAT16
        back = _cast(twin, ir.DataType.FLOAT, old.name)
        graph.insert_after(node, [half, back])
        (new,) = back.outputs
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        self.twins[new] = twin
        self.calculated.add(new)

    def twin(self, value: ir.Value) -> ir.Value:
        if value not in self.twins:
            self.twins[value] = _stored_half(value) or self._cast_down(value)
        return self.twins[value]

    def _cast_down(self, value: ir.Value) -> ir.Value:
        node = _cast(value, ir.DataType.FLOAT16, f"{value.name}.fp16")
        producer, graph = value.producer(), value.graph
        if producer is not None:
            producer.append(node)
        else:
            assert graph is not None
            graph.insert_before(graph[0], [node])
        return node.outputs[0]


def _is_float(value: ir.Value | None) -> TypeGuard[ir.Value]:
    return value is not None and value.dtype == ir.DataType.FLOAT


def _fits(value: ir.Value) -> bool:
    return value.const_value is None or bool((np.abs(value.const_value.numpy()) <= LARGEST).all())


def _stored_half(value: ir.Value) -> ir.Value | None:
    """What a bundle stores in float16 and casts to the value."""
    producer = value.producer()
    if producer is None or producer.op_type != "Cast":
        return None
    (stored,) = producer.inputs
    is_weight = stored is not None and stored.is_initializer() and stored.dtype == ir.DataType.FLOAT16
    return stored if is_weight else None


def _cast(value: ir.Value, dtype: ir.DataType, name: str | None) -> ir.Node:
    node = ir.node("Cast", [value], {"to": dtype})
    output = node.outputs[0]
    output.name, output.shape, output.dtype = name, value.shape, dtype
    return node
