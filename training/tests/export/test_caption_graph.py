"""`caption.onnx` against `beam_search`, its reference."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from distillvlm.export.caption_graph import SCALARS, caption_graph
from distillvlm.export.graphs import PREFIX_OUTPUTS, PrefixShape
from distillvlm.export.storage import rounded
from distillvlm.modeling.generation import Captions, beam_search
from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel
from tests.modeling.tiny import tiny_model, tiny_regions

REGIONS, TAGS = 4, 3
LENGTH_PENALTY = 0.9
SEP = 3


class Searcher:
    """A model, its graph, and three photos' prefixes."""

    def __init__(self, seed: int, path: Path, sep_bias: float) -> None:
        model = tiny_model(seed)
        with torch.no_grad():
            model.word_bias[SEP] += sep_bias
        self.model: VisionLanguageModel = rounded(model, "fp16")
        graph = caption_graph(self.model, PrefixShape(REGIONS, TAGS), LENGTH_PENALTY)
        ir.save(graph, path)
        self.path = path
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        with torch.no_grad():
            self.prefix = self.model.encode_prefix(tiny_regions(3, REGIONS, TAGS, seed + 10))

    def photos(self, rows: slice) -> Prefix:
        return Prefix(*(getattr(self.prefix, n)[rows] for n in ("keys", "values", "mask", "hidden", "attention")))

    def reference(self, prefix: Prefix, num_beams: int, max_tokens: int) -> Captions:
        return beam_search(self.model, prefix, num_beams, max_tokens, LENGTH_PENALTY)

    def graph(self, prefix: Prefix, num_beams: int, num_captions: int, max_tokens: int) -> list[np.ndarray]:
        arrays = (prefix.keys.numpy(), prefix.values.numpy(), prefix.mask.numpy())
        scalars = zip(SCALARS, map(np.array, (num_beams, num_captions, max_tokens)), strict=True)
        return self.session.run(None, {**dict(zip(PREFIX_OUTPUTS, arrays, strict=True)), **dict(scalars)})


@pytest.fixture(scope="module", params=[(0, 0.0), (1, 2.0)], ids=["rarely ends", "often ends"])
def searcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    seed, sep_bias = request.param
    return Searcher(seed, tmp_path_factory.mktemp("graph") / "caption.onnx", sep_bias)


@pytest.mark.parametrize("photos", [slice(0, 1), slice(0, 3)], ids=["one photo", "three photos"])
@pytest.mark.parametrize("max_tokens", [1, 2, 20])
@pytest.mark.parametrize("num_beams", [1, 3, 5, 8])
def test_all_beams_equal_the_reference(searcher: Searcher, num_beams: int, max_tokens: int, photos: slice) -> None:
    prefix = searcher.photos(photos)
    expected = searcher.reference(prefix, num_beams, max_tokens)
    tokens, log_probabilities, attention = searcher.graph(prefix, num_beams, num_beams, max_tokens)
    np.testing.assert_array_equal(tokens, expected.tokens)
    # fp32 sums in another order: 2e-6 seen here
    np.testing.assert_allclose(log_probabilities, expected.log_probabilities, atol=1e-4)
    np.testing.assert_allclose(attention, expected.attention[..., -REGIONS:], atol=1e-5)


def test_the_search_ends_when_all_beams_have_ended(searcher: Searcher) -> None:
    prefix = searcher.photos(slice(2, 3))
    tokens, *_ = searcher.graph(prefix, num_beams=3, num_captions=3, max_tokens=70)
    steps = tokens.shape[2]
    assert steps < 70
    assert (tokens[:, :, -1] == SEP).any(), "the last step has ended a beam"
    assert (tokens == SEP).any(axis=2).all()


def test_fewer_captions_are_the_best_of_all(searcher: Searcher) -> None:
    prefix = searcher.photos(slice(0, 3))
    every = searcher.graph(prefix, num_beams=5, num_captions=5, max_tokens=12)
    best = searcher.graph(prefix, num_beams=5, num_captions=2, max_tokens=12)
    for all_captions, two in zip(every, best, strict=True):
        np.testing.assert_array_equal(two, all_captions[:, :2])


def test_a_photo_gets_the_same_captions_in_a_batch(searcher: Searcher) -> None:
    together = searcher.graph(searcher.photos(slice(0, 3)), num_beams=5, num_captions=5, max_tokens=20)
    for row in range(3):
        alone = searcher.graph(searcher.photos(slice(row, row + 1)), num_beams=5, num_captions=5, max_tokens=20)
        steps = alone[0].shape[2]
        np.testing.assert_array_equal(together[0][row, :, :steps], alone[0][0])
        assert (together[0][row, :, steps:] == 0).all()
        np.testing.assert_allclose(together[1][row, :, :steps], alone[1][0], atol=1e-5)


def test_only_standard_operators_are_used(searcher: Searcher) -> None:
    model = onnx.load(searcher.path)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
    assert {node.domain for node in [*model.graph.node, *body.node]} == {""}


def test_weights_are_prepared_once_in_front_of_the_loop(searcher: Searcher) -> None:
    """Whatever depends on weights alone, or on the prefix alone, would be repeated for every word inside the loop."""
    model = onnx.load(searcher.path)
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
    changing = {value.name for value in body.input}
    for node in body.node:
        assert not node.input or changing.intersection(node.input), f"{node.op_type} {node.name} never changes"
        changing.update(node.output)
    assert len(body.initializer) == 0
