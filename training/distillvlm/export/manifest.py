"""`manifest.json`, the seam between training and server: written and verified here, verified again by the server.

The JSON Schema in `models/manifest.schema.json` says what each field means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import onnx_ir as ir

from distillvlm.data.atomic_files import write_text_atomically
from distillvlm.structures.calibration import Calibration

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SCHEMA = Path(__file__).parents[3] / "models" / "manifest.schema.json"
GRAPHS = ("detector", "prefix", "caption", "answer")

_TYPE_NAMES = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.INT64: "int64",
    ir.DataType.UINT8: "uint8",
    ir.DataType.BOOL: "bool",
}


@dataclass(frozen=True)
class TensorSpec:
    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphSpec:
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, file: str, model: ir.Model) -> GraphSpec:
        return cls(file, _tensors(model.graph.inputs), _tensors(model.graph.outputs))


@dataclass(frozen=True)
class FileSpec:
    path: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, bundle: Path, path: str) -> FileSpec:
        with (bundle / path).open("rb") as file:
            return cls(path, (bundle / path).stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class ImageSpec:
    height: int
    width: int
    resampling: str = "bilinear"


@dataclass(frozen=True)
class Limits:
    question_tokens: int
    question_characters: int = 256
    num_beams: int = 8
    max_tokens: int = 20
    top_k: int = 20


@dataclass(frozen=True)
class Decoding:
    num_beams: int = 5
    num_captions: int = 1
    max_tokens: int = 20
    top_k: int = 5
    length_penalty: float = 1.0


@dataclass(frozen=True)
class CaptionScore:
    """good_from: CIDEr-D of a good caption, with the idf of the training captions; where there is a calibration."""

    meaning: str = "geometric_mean_of_token_probabilities"
    rank: str = "log_probability / tokens ** length_penalty"
    good_from: float | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class AnswerScore:
    activation: str = "sigmoid"
    meaning: str = "expected_vqa_accuracy"
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Scores:
    caption: CaptionScore = CaptionScore()
    answer: AnswerScore = AnswerScore()


@dataclass(frozen=True)
class Metric:
    """interval: 95%. items: photos or questions. method: how it was measured, in words."""

    name: str
    value: float
    data: str
    items: int
    method: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Source:
    """A data set or pretrained weights. kind: "data" or "weights"."""

    name: str
    kind: str
    use: str
    terms: str
    url: str | None = None


@dataclass(frozen=True)
class Provenance:
    """date: YYYY-MM-DD. teacher: what the student was distilled from, None without a teacher."""

    sources: tuple[Source, ...]
    recipe: str
    commit: str
    seeds: tuple[int, ...]
    date: str
    teacher: str | None


@dataclass(frozen=True)
class ManifestFacts:
    """What only the recipe knows of a bundle; the rest of the manifest is read off the bundle itself."""

    name: str
    version: str
    licence: str
    provenance: Provenance
    decoding: Decoding = field(default_factory=Decoding)
    scores: Scores = field(default_factory=Scores)
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    format_version: int = FORMAT_VERSION
    name: str
    version: str
    licence: str
    files: tuple[FileSpec, ...]
    graphs: Mapping[str, GraphSpec]
    variants: Mapping[str, Mapping[str, str]]
    image: ImageSpec
    special_tokens: Mapping[str, int]
    limits: Limits
    decoding: Decoding
    scores: Scores
    parameters: Mapping[str, int]
    metrics: tuple[Metric, ...]
    provenance: Provenance

    def write(self, bundle: Path) -> None:
        """
        Raises:
            ValueError: the manifest does not follow its schema.
        """
        _write(_json(self), bundle)


def replace_metrics(bundle: Path, metrics: Sequence[Metric]) -> None:
    """Puts `metrics` in place of those of a bundle, which can be measured only once it is served.

    Raises:
        ValueError: as `read_manifest`, or the new metrics do not follow the schema.
    """
    _write(read_manifest(bundle) | {"metrics": [_json(metric) for metric in metrics]}, bundle)


def replace_calibration(bundle: Path, caption: Calibration, good_from: float, answer: Calibration) -> None:
    """Gives a bundle's scores the meaning that they have once calibrated; see `CaptionScore`.

    Raises:
        ValueError: as `replace_metrics`.
    """
    manifest = read_manifest(bundle)
    given = {"meaning": "chance_of_good_caption", "good_from": good_from, "calibration": asdict(caption)}
    answers = {"meaning": "chance_of_right_answer", "calibration": asdict(answer)}
    scores = {
        "caption": manifest["scores"]["caption"] | given,
        "answer": manifest["scores"]["answer"] | answers,
    }
    _write(manifest | {"scores": scores}, bundle)


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest as JSON, held against the schema; the files are not looked at.

    Raises:
        ValueError: it is missing, not JSON, or not what the schema asks for.
    """
    path = bundle / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
    _validate(content, bundle)
    return content


def verify_bundle(bundle: Path) -> dict[str, Any]:
    """Checks every file's size and checksum and every graph's inputs and outputs; returns the manifest.

    Raises:
        ValueError: says which file, tensor or field differs.
    """
    manifest = read_manifest(bundle)
    for listed in manifest["files"]:
        if not (bundle / listed["path"]).resolve().is_relative_to(bundle.resolve()):
            raise ValueError(f"{listed['path']} leads out of the bundle {bundle}")
        if not (bundle / listed["path"]).is_file():
            raise ValueError(f"{listed['path']} is listed in the manifest but missing")
        found = asdict(FileSpec.of(bundle, listed["path"]))
        if found != listed:
            raise ValueError(f"Expected {listed} but found {found}")
    listed_files = {listed["path"] for listed in manifest["files"]}
    graphs = manifest["graphs"]
    variants = [
        (name, graphs[name] | {"file": file})
        for variant in manifest.get("variants", {}).values()
        for name, file in variant.items()
    ]
    for name, promised in [*graphs.items(), *variants]:
        if promised["file"] not in listed_files:
            raise ValueError(f"{promised['file']} of graph {name} is not among the manifest's files")
        found = _json(GraphSpec.of(promised["file"], ir.load(bundle / promised["file"])))
        if found != promised:
            raise ValueError(f"Expected graph {name} as {promised} but found {found}")
    return manifest


def _validate(content: object, bundle: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    problem = jsonschema.exceptions.best_match(validator.iter_errors(content))
    if problem is not None:
        raise ValueError(f"The manifest of {bundle} breaks its schema at {problem.json_path}: {problem.message}")


def _write(content: dict[str, Any], bundle: Path) -> None:
    _validate(content, bundle)
    write_text_atomically(bundle / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _json(fields: Manifest | Metric | GraphSpec) -> dict[str, Any]:
    """As JSON holds it: lists for tuples, nothing for what is optional and not given."""
    optional = {"interval", "url", "good_from", "calibration"}

    def present(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in items if not (value is None and name in optional)}

    content: dict[str, Any] = json.loads(json.dumps(asdict(fields, dict_factory=present)))
    return content


def _tensors(values: Iterable[ir.Value]) -> tuple[TensorSpec, ...]:
    return tuple(_tensor(value) for value in values)


def _tensor(value: ir.Value) -> TensorSpec:
    assert value.name is not None
    assert value.dtype is not None
    assert value.shape is not None
    axes = tuple(axis if isinstance(axis, int) else str(axis.value) for axis in value.shape)
    return TensorSpec(value.name, _TYPE_NAMES[value.dtype], axes)
