from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from distillvlm.export.graphs import trace
from distillvlm.export.storage import Storage, rounded, share_weights, store


def linear(inputs: int = 64, outputs: int = 32) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs).eval()


def graph(module: torch.nn.Linear, storage: Storage = "fp16") -> ir.Model:
    batch = torch.export.Dim("batch")
    inputs = {"input": torch.randn(2, module.in_features)}
    model = trace(rounded(module, storage), inputs, {"input": {0: batch}}, ("output",))
    store(model, storage)
    return model


def test_buffers_keep_their_values() -> None:
    module = torch.nn.BatchNorm1d(2000).eval()
    torch.manual_seed(0)
    module.running_mean = torch.randn(2000)
    kept = rounded(module, "fp16")
    assert kept.running_mean is not None
    assert torch.equal(kept.running_mean, module.running_mean)


def test_rounding_keeps_small_tensors_and_the_original() -> None:
    module = linear()
    weight = module.weight.detach().clone()
    kept = rounded(module, "fp16")
    assert torch.equal(kept.weight, weight.half().float())
    assert not torch.equal(kept.weight, weight)
    assert torch.equal(kept.bias, module.bias), "128 bytes stay fp32"
    assert torch.equal(module.weight, weight)


def test_a_weight_that_fp16_cannot_hold_is_an_error_that_names_it() -> None:
    module = linear()
    with torch.no_grad():
        module.weight[0, 0] = 70000
    with pytest.raises(ValueError, match=r"weight.*7e\+04"):
        rounded(module, "fp16")


def test_int8_has_a_scale_for_each_row_and_is_off_by_half_a_step_at_most() -> None:
    module = linear()
    with torch.no_grad():
        module.weight[3] *= 100
        module.weight[5] = 0
    kept = rounded(module, "int8")
    steps = module.weight.abs().amax(1, keepdim=True) / 127
    assert bool(((kept.weight - module.weight).abs() <= 0.5001 * steps).all())
    assert torch.equal(kept.bias, module.bias)
    torch.testing.assert_close(rounded(kept, "int8").weight, kept.weight, rtol=1e-6, atol=0)


def test_fp32_changes_nothing() -> None:
    module = linear()
    assert torch.equal(rounded(module, "fp32").weight, module.weight)


@pytest.mark.parametrize(
    ("storage", "kind"),
    [("fp32", onnx.TensorProto.FLOAT), ("fp16", onnx.TensorProto.FLOAT16), ("int8", onnx.TensorProto.INT8)],
)
def test_a_stored_graph_computes_what_the_rounded_module_does(storage: Storage, kind: int, tmp_path: Path) -> None:
    module = linear(128, 64)
    model = graph(module, storage)
    share_weights([model], tmp_path / "w.weights")
    ir.save(model, tmp_path / "g.onnx")
    stored = {
        tensor.name: tensor for tensor in onnx.load(tmp_path / "g.onnx", load_external_data=False).graph.initializer
    }
    assert stored["weight"].data_type == kind
    assert not any(tensor.metadata_props for tensor in stored.values())
    assert stored["weight"].data_location == onnx.TensorProto.EXTERNAL
    assert stored["bias"].data_type == onnx.TensorProto.FLOAT
    inputs = torch.randn(3, 128)
    (output,) = onnxruntime.InferenceSession(tmp_path / "g.onnx").run(None, {"input": inputs.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, rounded(module, storage)(inputs), atol=1e-5)


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
            np.testing.assert_allclose(output, rounded(module, "fp16")(inputs), atol=1e-5)
