"""`prefix.onnx`, `answer.onnx` and a detector's tags against PyTorch, at sizes that they were not traced with."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from distillvlm.export.graphs import PREFIX_OUTPUTS, PrefixShape, answer_graph, detector_graph, prefix_graph
from distillvlm.export.storage import rounded, store
from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel
from tests.detector.tiny import detector_with_concepts, photos
from tests.modeling.tiny import VOCABULARY, tiny_model, tiny_regions

REGIONS, TAGS = 4, 3
SHAPE = PrefixShape(REGIONS, TAGS)


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    return rounded(tiny_model(), "fp16")


@pytest.fixture(scope="module")
def sessions(
    model: VisionLanguageModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, onnxruntime.InferenceSession]:
    folder: Path = tmp_path_factory.mktemp("graphs")
    graphs = {"prefix": prefix_graph(model, SHAPE), "answer": answer_graph(model, SHAPE)}
    for name, graph in graphs.items():
        ir.save(graph, folder / f"{name}.onnx")
    return {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in graphs}


def encode(model: VisionLanguageModel, batch: int) -> tuple[dict[str, np.ndarray], Prefix]:
    regions = tiny_regions(batch, REGIONS, TAGS)
    with torch.no_grad():
        prefix = model.encode_prefix(regions)
    return {name: getattr(regions, name).numpy() for name in ("boxes", "valid", "features", "tags")}, prefix


def feeds(prefix: Prefix) -> dict[str, np.ndarray]:
    return dict(zip(PREFIX_OUTPUTS, (x.numpy() for x in (prefix.keys, prefix.values, prefix.mask)), strict=True))


@pytest.mark.parametrize("batch", [1, 5])
def test_the_prefix_equals_pytorchs(
    model: VisionLanguageModel, sessions: dict[str, onnxruntime.InferenceSession], batch: int
) -> None:
    arrays, expected = encode(model, batch)
    keys, values, mask = sessions["prefix"].run(None, arrays)
    np.testing.assert_allclose(keys, expected.keys, atol=1e-4)
    np.testing.assert_allclose(values, expected.values, atol=1e-4)
    np.testing.assert_array_equal(mask, expected.mask)
    assert not mask[0].all(), "the padded region and the absent tag of the first photo are masked"


@pytest.mark.parametrize(("questions", "length"), [(1, 2), (7, 72)])
def test_answers_equal_pytorchs_whatever_photo_they_ask_of(
    model: VisionLanguageModel, sessions: dict[str, onnxruntime.InferenceSession], questions: int, length: int
) -> None:
    _, prefix = encode(model, batch=3)
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(5, VOCABULARY, (questions, length), generator=generator)
    ids[:, 0] = 2
    ids[-1, length // 2 :] = 0
    photo = torch.randint(0, 3, (questions,), generator=generator)
    logits, attention = sessions["answer"].run(
        None, {**feeds(prefix), "question_ids": ids.numpy(), "photo_of_question": photo.numpy()}
    )
    of_question = Prefix(*(getattr(prefix, name)[photo] for name in ("keys", "values", "mask", "hidden", "attention")))
    with torch.no_grad():
        states = model.encode_questions(of_question, ids[:, None])
        expected = model.answer_logits(model.pool(states))[:, 0]
    prefix_length = prefix.mask.shape[1]
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    expected_attention = states.attention[:, :, 0, 0, prefix_length - REGIONS : prefix_length].mean(1)
    np.testing.assert_allclose(attention, expected_attention, atol=1e-5)


def test_padding_of_a_question_changes_nothing(
    model: VisionLanguageModel, sessions: dict[str, onnxruntime.InferenceSession]
) -> None:
    _, prefix = encode(model, batch=1)
    ids = np.array([[2, 7, 8, 3]])
    alone, _ = sessions["answer"].run(None, {**feeds(prefix), "question_ids": ids, "photo_of_question": np.array([0])})
    padded, _ = sessions["answer"].run(
        None,
        {
            **feeds(prefix),
            "question_ids": np.array([[2, 7, 8, 3, 0, 0, 0], [2, 5, 6, 7, 8, 9, 3]]),
            "photo_of_question": np.array([0, 0]),
        },
    )
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-5)


def test_a_concept_head_in_the_detectors_graph_names_pytorchs_tags(tmp_path: Path) -> None:
    detector = rounded(detector_with_concepts(), "fp16")
    graph = detector_graph(detector, detector.config.image_size)
    store(graph, "fp16")
    weights = graph.graph.initializers["detector.tagger.head.local.weight"]
    assert weights.dtype == ir.DataType.FLOAT16
    ir.save(graph, tmp_path / "detector.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    for batch in (1, 3):
        with torch.no_grad():
            expected = detector(photos(batch)).tags
        assert expected.max() >= 0
        (tags,) = session.run(["tags"], {"pixels": photos(batch).numpy()})
        assert tags.tolist() == expected.tolist()
