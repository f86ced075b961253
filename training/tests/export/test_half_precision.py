"""The float16 graphs of the tiny bundle, and what stays float32 in them."""

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from distillvlm.export.fixture import FIXTURE, noise_pictures
from distillvlm.export.graphs import trace
from distillvlm.export.half_precision import PRODUCTS, in_half_precision
from distillvlm.export.manifest import GRAPHS
from distillvlm.export.runtime import BundlePredictor

EXACT = frozenset({"LayerNormalization", "LogSoftmax", "ReduceLogSumExp", "Sigmoid", "Softmax"})


def nodes(model: ir.Model) -> list[ir.Node]:
    return list(ir.traversal.RecursiveGraphIterator(model.graph))


def types(node: ir.Node) -> set[ir.DataType | None]:
    return {value.dtype for value in (*node.inputs, *node.outputs) if value is not None}


def test_a_bundle_says_the_same_in_fp16() -> None:
    full, half = BundlePredictor(FIXTURE), BundlePredictor(FIXTURE, variant="fp16")
    torch.manual_seed(1)
    pixels, questions = noise_pictures(8).numpy(), [["what is this"]] * 8
    photos, halved = full.encode(pixels), half.encode(pixels)
    for (one,), (other,) in zip(full.captions(photos), half.captions(halved), strict=True):
        assert other.text == one.text
        assert other.log_probability == pytest.approx(one.log_probability, abs=0.05)
    logits, halved_logits = full.answer_logits(photos, questions), half.answer_logits(halved, questions)
    np.testing.assert_allclose(halved_logits, logits, atol=0.02)
    assert not np.array_equal(halved_logits, logits)


@pytest.mark.parametrize("name", GRAPHS)
def test_all_products_of_a_variant_are_float16_and_softmax_and_norms_are_not(name: str) -> None:
    listed = json.loads((FIXTURE / "manifest.json").read_text())["variants"]["fp16"][name]
    found = nodes(ir.load(FIXTURE / listed))
    products = [node for node in found if node.op_type in PRODUCTS]
    assert len(products) == sum(node.op_type in PRODUCTS for node in nodes(ir.load(FIXTURE / f"{name}.onnx")))
    assert all(types(node) == {ir.DataType.FLOAT16} for node in products)
    assert all(ir.DataType.FLOAT16 not in types(node) for node in found if node.op_type in EXACT)


def test_a_variant_adds_no_weights() -> None:
    def stored(file: str) -> set[tuple[int, int]]:
        tensors = (value.const_value for value in ir.load(FIXTURE / file).graph.initializers.values())
        return {(x.offset or 0, x.length or 0) for x in tensors if isinstance(x, ir.ExternalTensor)}

    for name in GRAPHS:
        assert stored(f"{name}-fp16.onnx") == stored(f"{name}.onnx") != set()


class Network(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
        self.matrix = torch.nn.Buffer(torch.full((4, 4), factor))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(input)).relu().permute(0, 2, 3, 1) @ self.matrix


@pytest.mark.parametrize(("factor", "product"), [(0.5, ir.DataType.FLOAT16), (1e6, ir.DataType.FLOAT)])
def test_what_fp16_cannot_hold_stays_float32_and_a_chain_is_cast_once(
    factor: float, product: ir.DataType, tmp_path: Path
) -> None:
    network, inputs = Network(factor).eval(), torch.randn(2, 3, 5, 5)
    model = trace(network, {"input": inputs}, {"input": {}}, ("output",))
    half = in_half_precision(model)
    kinds = {node.op_type: types(node) for node in nodes(half)}
    assert kinds["Conv"] == {ir.DataType.FLOAT16}
    assert kinds["MatMul"] == {product}
    assert all(ir.DataType.FLOAT not in kinds[op] for op in ("BatchNormalization", "Relu"))
    ir.save(half, tmp_path / "half.onnx")
    (output,) = onnxruntime.InferenceSession(tmp_path / "half.onnx").run(None, {"input": inputs.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, network(inputs), rtol=0.02, atol=0.01 * factor)
    assert {value.dtype for value in (*half.graph.inputs, *half.graph.outputs)} == {ir.DataType.FLOAT}
