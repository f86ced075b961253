"""A trained detector and transformer -> the folder that the server reads."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from torch import nn

from distillvlm.data.vocabulary import Tokenizer
from distillvlm.export.caption_graph import caption_graph
from distillvlm.export.graphs import PrefixShape, answer_graph, detector_graph, prefix_graph
from distillvlm.export.half_precision import in_half_precision
from distillvlm.export.manifest import (
    GRAPHS,
    FileSpec,
    GraphSpec,
    ImageSpec,
    Limits,
    Manifest,
    ManifestFacts,
    verify_bundle,
)
from distillvlm.export.storage import Storage, rounded, share_weights, store
from distillvlm.modeling.detector.detector import Detector
from distillvlm.modeling.vision_language import VisionLanguageModel

WEIGHTS = "weights.bin"
HALVES = {name: f"{name}-fp16.onnx" for name in GRAPHS}


@dataclass(frozen=True)
class BundleWords:
    """What the graphs' numbers stand for; `tags` are the rows of `Regions.tags`, `answers` those of the logits."""

    tokenizer: Tokenizer
    labels: Sequence[str]
    attributes: Sequence[str]
    tags: Sequence[str]
    answers: Sequence[str]


def write_bundle(
    target: Path,
    detector: Detector,
    model: VisionLanguageModel,
    words: BundleWords,
    facts: ManifestFacts,
    storage: Storage = "fp16",
) -> None:
    """Writes the bundle beside `target` and moves it there in one step; a bundle that was there goes.

    Raises:
        ValueError: words and graphs differ in number, a weight does not fit fp16, or the manifest breaks its schema.
    """
    _check(detector, model, words)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        bundle = Path(folder) / target.name
        bundle.mkdir()
        graphs = _write_graphs(bundle, rounded(detector, storage), rounded(model, storage), facts, storage)
        _write_words(bundle, words)
        _manifest(bundle, graphs, detector, model, words, facts).write(bundle)
        verify_bundle(bundle)
        if target.exists():
            shutil.move(target, Path(folder) / "replaced")
        bundle.rename(target)


def _check(detector: Detector, model: VisionLanguageModel, words: BundleWords) -> None:
    expected = {
        "vocabulary": (model.config.vocab_size, len(words.tokenizer)),
        "answers": (model.config.num_answers, len(words.answers)),
        "tags": (len(model.tag_tokens), len(words.tags)),
        "region feature size": (model.config.region_feature_size, detector.feature_size),
    }
    for what, (graph, given) in expected.items():
        if graph != given:
            raise ValueError(f"Expected {graph} for {what}, as the model has, but received {given}")


def _write_graphs(
    bundle: Path, detector: Detector, model: VisionLanguageModel, facts: ManifestFacts, storage: Storage
) -> dict[str, ir.Model]:
    config = detector.config
    shape = PrefixShape(config.num_regions, config.num_tags)
    graphs = {
        "detector": detector_graph(detector, config.image_size),
        "prefix": prefix_graph(model, shape),
        "caption": caption_graph(model, shape, facts.decoding.length_penalty),
        "answer": answer_graph(model, shape),
    }
    for graph in graphs.values():
        store(graph, storage)
    files = {f"{name}.onnx": graph for name, graph in graphs.items()}
    files |= {HALVES[name]: in_half_precision(graph) for name, graph in graphs.items()}
    share_weights(files.values(), bundle / WEIGHTS)
    for file, graph in files.items():
        ir.save(graph, bundle / file)
    return graphs


def _write_words(bundle: Path, words: BundleWords) -> None:
    def write(name: str, content: object) -> None:
        (bundle / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    words.tokenizer.save(bundle / "tokenizer.json")
    names = {"labels": words.labels, "attributes": words.attributes, "tags": words.tags}
    write("labels.json", {name: list(values) for name, values in names.items()})
    write("answers.json", list(words.answers))


def _manifest(
    bundle: Path,
    graphs: dict[str, ir.Model],
    detector: Detector,
    model: VisionLanguageModel,
    words: BundleWords,
    facts: ManifestFacts,
) -> Manifest:
    height, width = detector.config.image_size
    tokenizer = words.tokenizer
    return Manifest(
        name=facts.name,
        version=facts.version,
        licence=facts.licence,
        files=tuple(FileSpec.of(bundle, path.name) for path in sorted(bundle.iterdir())),
        graphs={name: GraphSpec.of(f"{name}.onnx", graph) for name, graph in graphs.items()},
        variants={"fp16": HALVES},
        image=ImageSpec(height, width),
        special_tokens={
            "pad": tokenizer.pad_id,
            "unk": tokenizer.unk_id,
            "cls": tokenizer.cls_id,
            "sep": tokenizer.sep_id,
            "mask": tokenizer.mask_id,
        },
        limits=Limits(question_tokens=model.config.max_positions),
        decoding=facts.decoding,
        scores=facts.scores,
        parameters={"detector": count_parameters(detector), "transformer": count_parameters(model)},
        metrics=facts.metrics,
        provenance=facts.provenance,
    )


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
