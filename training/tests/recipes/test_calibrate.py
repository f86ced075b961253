import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from distillvlm.data.records import Question, Record, Split
from distillvlm.evaluation.report import asked, captioned
from distillvlm.evaluation.server import Scored, Served
from distillvlm.export.fixture import FIXTURE
from distillvlm.export.manifest import read_manifest
from distillvlm.recipes import calibrate as module
from distillvlm.recipes.calibrate import calibrate

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def half_right(url: str, records: Sequence[Record]) -> Served:
    """Every other caption and answer is right, and nine of ten scores of a right one are the higher."""
    captions = {record.photo_id: _said(number, record.captions[0]) for number, record in enumerate(captioned(records))}
    answers: dict[str, dict[int, Scored]] = {}
    for number, (record, question) in enumerate(asked(records)):
        answers.setdefault(record.source, {})[question.question_id] = _said(number, question.answers[0])
    return Served(captions, answers)


def _said(number: int, right: str) -> Scored:
    is_right, is_sure = number % 2 == 1, number % 10 != 0
    return Scored(right if is_right else "nothing", 0.6 if is_right == is_sure else 0.4)


def records() -> list[Record]:
    """40 photos of each split with five captions and a question."""
    animals = ("dog", "cat", "horse", "bird")
    return [
        Record(
            f"coco/{split}{number}",
            Path("photo.jpg"),
            8,
            8,
            split,
            "coco",
            captions=tuple(f"a {animals[number % 4]} {verb}" for verb in ("sits", "runs", "eats", "sleeps", "waits")),
            questions=(Question(1000 * place + number, "what is it?", (animals[number % 4],) * 10, "other"),),
        )
        for place, split in enumerate(SPLITS)
        for number in range(40)
    ]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "load_photos", lambda root: records())
    monkeypatch.setattr(module, "measure", half_right)
    return tmp_path


def test_a_bundle_gets_the_calibration_behind_the_one_that_it_has(root: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(FIXTURE, tmp_path / "bundle"))
    report = calibrate("http://server", root, "val", tmp_path / "out", 40.0, bundle)
    scores = read_manifest(bundle)["scores"]
    assert scores["caption"]["good_from"] == 40.0
    assert scores["caption"]["calibration"] == report["caption"]["calibration"]
    assert scores["answer"]["activation"] == "sigmoid"
    again = calibrate("http://server", root, "val", tmp_path / "out", 40.0, bundle)
    for name, before in (("caption", 1.5), ("answer", 0.75)):  # slopes of the tiny bundle
        first, second = (one[name]["calibration"]["slope"] for one in (report, again))
        assert first / before == pytest.approx(second / first, rel=1e-4)
    assert json.loads((tmp_path / "out" / "calibration.json").read_text())["caption"] == again["caption"]
    assert "calibrated" in (tmp_path / "out" / "calibration.svg").read_text()


def test_scores_are_checked_without_a_change(root: Path, tmp_path: Path) -> None:
    report = calibrate("http://server", root, "test", tmp_path / "out")
    assert set(report["answer"]["expected calibration error"]) == {"as served"}


def test_a_bundle_is_not_calibrated_on_test_photos(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected --split val"):
        calibrate("http://server", root, "test", tmp_path / "out", bundle=FIXTURE)
