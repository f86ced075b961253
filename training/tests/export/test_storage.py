from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from distillvlm.export.graphs import trace
from distillvlm.export.storage import round_to_fp16, share_weights


def linear(inputs: int = 64, outputs: int = 32) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs).eval()


def graph(module: torch.nn.Linear) -> ir.Model:
    batch = torch.export.Dim("batch")
    return trace(module, {"input": torch.randn(2, module.in_features)}, {"input": {0: batch}}, ("output",))


def test_buffers_keep_their_values() -> None:
    module = torch.nn.BatchNorm1d(2000).eval()
    torch.manual_seed(0)
    module.running_mean = torch.randn(2000)
    rounded = round_to_fp16(module)
    assert rounded.running_mean is not None
    assert torch.equal(rounded.running_mean, module.running_mean)


def test_rounding_keeps_small_tensors_and_the_original() -> None:
    module = linear()
    weight = module.weight.detach().clone()
    rounded = round_to_fp16(module)
    assert torch.equal(rounded.weight, weight.half().float())
    assert not torch.equal(rounded.weight, weight)
    assert torch.equal(rounded.bias, module.bias), "128 bytes stay fp32"
    assert torch.equal(module.weight, weight)


def test_a_weight_that_fp16_cannot_hold_is_an_error_that_names_it() -> None:
    module = linear()
    with torch.no_grad():
        module.weight[0, 0] = 70000
    with pytest.raises(ValueError, match=r"weight.*7e\+04"):
        round_to_fp16(module)


def test_a_stored_graph_computes_what_the_rounded_module_does(tmp_path: Path) -> None:
    module = linear()
    model = graph(module)
    share_weights([model], tmp_path / "w.weights")
    ir.save(model, tmp_path / "g.onnx")
    stored = {
        tensor.name: tensor for tensor in onnx.load(tmp_path / "g.onnx", load_external_data=False).graph.initializer
    }
    assert stored["weight"].data_type == onnx.TensorProto.FLOAT16
    assert stored["weight"].data_location == onnx.TensorProto.EXTERNAL
    assert stored["bias"].data_type == onnx.TensorProto.FLOAT
    inputs = torch.randn(3, 64)
    (output,) = onnxruntime.InferenceSession(tmp_path / "g.onnx").run(None, {"input": inputs.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, round_to_fp16(module)(inputs), atol=1e-5)


def test_graphs_share_equal_weights_and_nothing_else(tmp_path: Path) -> None:
    same, other = linear(), linear(64, 48)
    models = [graph(same), graph(same), graph(other)]
    share_weights(models, tmp_path / "w.weights")
    assert (tmp_path / "w.weights").stat().st_size == 2 * 64 * (32 + 48)
    for index, (model, module) in enumerate(zip(models, (same, same, other), strict=True)):
        ir.save(model, tmp_path / f"{index}.onnx")
        inputs = torch.randn(2, 64)
        (output,) = onnxruntime.InferenceSession(tmp_path / f"{index}.onnx").run(None, {"input": inputs.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(output, round_to_fp16(module)(inputs), atol=1e-5)
