"""The manifest's schema, and what `verify_bundle` refuses; the bundle is the tiny one in the repository."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from distillvlm.export.fixture import FIXTURE
from distillvlm.export.manifest import SCHEMA, FileSpec, Metric, read_manifest, replace_metrics, verify_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "bundle"))


def change(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    edit(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_the_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_the_tiny_bundle_is_what_its_manifest_says() -> None:
    assert verify_bundle(FIXTURE)["name"] == "tiny"


@pytest.mark.parametrize(
    ("where", "edit"),
    [
        ("$.files[0].path", lambda m: m["files"][0].update(path="../outside.onnx")),
        ("$.files[0].path", lambda m: m["files"][0].update(path="/etc/passwd")),
        ("$.files[0].path", lambda m: m["files"][0].update(path="a/../../b")),
        ("$.files[0].path", lambda m: m["files"][0].update(path="..\\b")),
        ("$.graphs.prefix.file", lambda m: m["graphs"]["prefix"].update(file="./prefix.onnx")),
        ("$.files[0].sha256", lambda m: m["files"][0].update(sha256="0" * 63)),
        ("$.format_version", lambda m: m.update(format_version=2)),
        ("$.version", lambda m: m.update(version="1.0")),
        ("$.image.resampling", lambda m: m["image"].update(resampling="nearest")),
        ("$.provenance.sources", lambda m: m["provenance"].update(sources=[])),
        ("$.limits.question_tokens", lambda m: m["limits"].update(question_tokens=10)),
        ("$.scores.caption", lambda m: m["scores"]["caption"].update(meaning="geometric_mean_of_token_probabilities")),
        ("'calibration' is a required property", lambda m: m["scores"]["answer"].pop("calibration")),
        ("$.scores.caption.calibration.slope", lambda m: m["scores"]["caption"]["calibration"].update(slope=0)),
        ("surprise", lambda m: m.update(surprise=1)),
        ("'answer' is a required property", lambda m: m["graphs"].pop("answer")),
    ],
)
def test_a_manifest_that_breaks_the_schema_is_refused_by_name(
    bundle: Path, where: str, edit: Callable[[dict[str, Any]], object]
) -> None:
    change(bundle, edit)
    with pytest.raises(ValueError, match="breaks its schema") as refusal:
        read_manifest(bundle)
    assert where in str(refusal.value)


def test_a_manifest_that_is_missing_or_no_json_is_refused(bundle: Path) -> None:
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="Cannot read"):
        read_manifest(bundle)
    (bundle / "manifest.json").unlink()
    with pytest.raises(ValueError, match="Cannot read"):
        read_manifest(bundle)


def test_a_changed_file_is_refused_by_name(bundle: Path) -> None:
    content = bytearray((bundle / "weights.bin").read_bytes())
    content[100] ^= 1
    (bundle / "weights.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.bin"):
        verify_bundle(bundle)


def test_a_missing_file_is_refused_by_name(bundle: Path) -> None:
    (bundle / "labels.json").unlink()
    with pytest.raises(ValueError, match=r"labels\.json .* missing"):
        verify_bundle(bundle)


def test_a_file_behind_a_link_out_of_the_bundle_is_refused(bundle: Path) -> None:
    outside = bundle.parent / "answers.json"
    shutil.move(bundle / "answers.json", outside)
    (bundle / "answers.json").symlink_to(outside)
    with pytest.raises(ValueError, match="leads out of the bundle"):
        verify_bundle(bundle)


def test_a_graph_of_another_shape_is_refused(bundle: Path) -> None:
    def widen(manifest: dict[str, Any]) -> None:
        manifest["graphs"]["answer"]["outputs"][0]["shape"][1] = 9

    change(bundle, widen)
    with pytest.raises(ValueError, match="graph answer"):
        verify_bundle(bundle)


def test_a_variant_that_is_another_graph_is_refused(bundle: Path) -> None:
    change(bundle, lambda manifest: manifest["variants"]["fp16"].update(answer="prefix-fp16.onnx"))
    with pytest.raises(ValueError, match="graph answer"):
        verify_bundle(bundle)


def test_a_graph_that_no_checksum_covers_is_refused(bundle: Path) -> None:
    shutil.copy(bundle / "answer.onnx", bundle / "other.onnx")
    change(bundle, lambda manifest: manifest["graphs"]["answer"].update(file="other.onnx"))
    with pytest.raises(ValueError, match=r"other\.onnx of graph answer is not among"):
        verify_bundle(bundle)


def test_a_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    """NIST's example of SHA-256 (FIPS 180-4)."""
    (tmp_path / "abc").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert FileSpec.of(tmp_path, "abc") == FileSpec("abc", 3, digest)


def test_metrics_can_be_replaced_and_the_bundle_stays_whole(bundle: Path) -> None:
    before = read_manifest(bundle)
    replace_metrics(
        bundle,
        [
            Metric("CIDEr-D", 52.5, "Flickr8k validation", 1000, "beam 5", (50.1, 55.0)),
            Metric("distinct sentences", 898, "Flickr8k validation", 1000, "beam 5"),
        ],
    )
    manifest = verify_bundle(bundle)
    assert manifest["metrics"][0]["interval"] == [50.1, 55.0]
    assert "interval" not in manifest["metrics"][1]
    assert {**manifest, "metrics": []} == {**before, "metrics": []}
    assert not list(bundle.glob(".*"))


def test_metrics_that_break_the_schema_leave_the_manifest(bundle: Path) -> None:
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match=r"\$\.metrics\[0\]\.items"):
        replace_metrics(bundle, [Metric("CIDEr-D", 52.5, "Flickr8k validation", 0, "beam 5")])
    assert (bundle / "manifest.json").read_bytes() == before
