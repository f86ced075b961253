"""A written bundle, the one in the repository, and the golden files made from it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillvlm.data.vocabulary import Tokenizer
from distillvlm.export import bundle as bundle_module
from distillvlm.export.bundle import BundleWords, write_bundle
from distillvlm.export.fixture import (
    ANSWERS,
    ATTRIBUTES,
    FIXTURE,
    LABELS,
    fixture_detector,
    fixture_facts,
    fixture_transformer,
    noise_pictures,
    vocabulary,
)
from distillvlm.export.golden import GOLDEN, write_golden
from distillvlm.export.manifest import read_manifest, verify_bundle
from distillvlm.export.parity import Comparison, PhotoOutputs, check_parity
from distillvlm.export.runtime import BundlePredictor, GeneratedCaption
from distillvlm.modeling.detector.detector import Detector
from distillvlm.modeling.vision_language import VisionLanguageModel


@pytest.fixture(scope="module")
def detector() -> Detector:
    return fixture_detector()


@pytest.fixture(scope="module")
def words(detector: Detector) -> BundleWords:
    return BundleWords(Tokenizer(vocabulary()), LABELS, ATTRIBUTES, detector.tag_words, ANSWERS)


@pytest.fixture(scope="module")
def model(detector: Detector, words: BundleWords) -> VisionLanguageModel:
    return fixture_transformer(detector, words.tokenizer)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    torch.manual_seed(0)
    return noise_pictures(5).numpy()


def without_checksums(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"files": [listed["path"] for listed in manifest["files"]]}


def test_a_written_bundle_replaces_the_old_one_and_leaves_nothing_beside_it(
    tmp_path: Path, detector: Detector, model: VisionLanguageModel, words: BundleWords, pictures: np.ndarray
) -> None:
    target = tmp_path / "models" / "tiny"
    target.mkdir(parents=True)
    (target / "leftover").write_text("of an older version")
    write_bundle(target, detector, model, words, fixture_facts())
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]
    assert without_checksums(verify_bundle(target)) == without_checksums(read_manifest(FIXTURE))
    assert sum(path.stat().st_size for path in target.iterdir()) < 1_500_000
    here, committed = BundlePredictor(target), BundlePredictor(FIXTURE)
    for ours, theirs in zip(
        here.captions(here.encode(pictures)), committed.captions(committed.encode(pictures)), strict=True
    ):
        assert ours[0].text == theirs[0].text


def test_a_bundle_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    detector: Detector,
    model: VisionLanguageModel,
    words: BundleWords,
) -> None:
    target = Path(shutil.copytree(FIXTURE, tmp_path / "tiny"))
    monkeypatch.setattr(bundle_module, "_write_graphs", lambda *_: {})
    with pytest.raises(ValueError, match="breaks its schema"):
        write_bundle(target, detector, model, words, fixture_facts())
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    verify_bundle(target)


@pytest.mark.parametrize("what", ["answers", "tags"])
def test_words_that_do_not_match_the_model_are_refused_by_name(
    tmp_path: Path, detector: Detector, model: VisionLanguageModel, words: BundleWords, what: str
) -> None:
    fewer = replace(words, **{what: getattr(words, what)[1:]})
    with pytest.raises(ValueError, match=what):
        write_bundle(tmp_path / "tiny", detector, model, fewer, fixture_facts())
    assert not (tmp_path / "tiny").exists()


def test_the_committed_bundle_says_what_its_modules_say(
    detector: Detector, model: VisionLanguageModel, pictures: np.ndarray
) -> None:
    questions = [["what is this?"], ["how many dogs are there", "is it red?"], ["who"], ["where"], ["which animal"]]
    report = check_parity(FIXTURE, detector, model, pictures, questions, batch_size=3)
    assert report.passed, str(report)
    assert report.pytorch.photos == report.batch.regions == 5
    assert report.pytorch.questions == report.batch.answers == 6


def test_a_report_fails_when_one_caption_differs() -> None:
    good = Comparison(photos=2, questions=1, regions=2, captions=2, answers=1, logits=9e-5)
    assert good.identical(1.0)
    assert good.within_tolerance
    assert not replace(good, captions=1).identical(1.0)
    assert not replace(good, captions=1).identical(0.5)
    assert replace(good, captions=1, near_ties=1).identical(0.5)
    assert not replace(good, captions=1, near_ties=1).identical(0.6)
    assert not replace(good, answers=0).identical(0.5)
    assert not replace(good, log_probabilities=2e-4).within_tolerance


def test_captions_that_rank_almost_alike_are_a_near_tie() -> None:
    def outputs(tokens: list[int], rank: float) -> PhotoOutputs:
        regions = {name: np.zeros(2) for name in ("boxes", "labels", "attributes", "tags", "features")}
        caption = GeneratedCaption("", tokens, [-1.0] * len(tokens), 0.0, 0.0, np.zeros((1, 1)))
        return PhotoOutputs(regions, caption, rank, np.zeros((1, 2)))

    compared = Comparison()
    for tokens, rank in (([5, 3], -0.5), ([6, 3], -0.5009), ([6, 3], -0.52)):
        compared.add(outputs([5, 3], -0.5), outputs(tokens, rank))
    assert (compared.photos, compared.captions, compared.near_ties) == (3, 1, 1)


@pytest.mark.parametrize(
    ("tags", "near_ties"),
    [
        ([0, 1, -1], 0),  # the same tags: the captions differ for another reason
        ([1, 0, -1], 1),  # two words that weigh almost alike have changed places
        ([0, 1, 3], 1),  # one that weighs almost what a tag must is one here
        ([0, 2, -1], 0),
        ([0, -1, -1], 0),
    ],
)
def test_captions_of_tags_that_weigh_almost_alike_are_a_near_tie(tags: list[int], near_ties: int) -> None:
    weights = np.array([2.0, 1.999, 1.5, 0.4999, 0.5])  # of four words, and the threshold

    def outputs(tags: list[int], tokens: list[int], rank: float) -> PhotoOutputs:
        regions = {name: np.zeros(2) for name in ("boxes", "labels", "attributes", "features")}
        caption = GeneratedCaption("", tokens, [-1.0] * len(tokens), 0.0, 0.0, np.zeros((1, 1)))
        return PhotoOutputs({**regions, "tags": np.array(tags)}, caption, rank, np.zeros((1, 2)), weights)

    compared = Comparison()
    compared.add(outputs(tags, [6, 3], -0.9), outputs([0, 1, -1], [5, 3], -0.5))
    assert compared.near_ties == near_ties


def leaves_of(content: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Each value of a JSON file with its place in it."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if inner is None:
        yield place, content
    for key, value in inner or ():
        yield from leaves_of(value, f"{place}/{key}")


def test_the_golden_files_are_what_this_code_writes(tmp_path: Path) -> None:
    write_golden(FIXTURE, tmp_path)
    for name in ("pixels.json", "tokens.json", "predictions.json"):
        ours, golden = (dict(leaves_of(json.loads((folder / name).read_text()))) for folder in (tmp_path, GOLDEN))
        assert ours.keys() == golden.keys()
        for place, value in ours.items():
            assert value == (pytest.approx(golden[place], abs=1e-4) if isinstance(value, float) else golden[place])


def test_the_golden_captions_tell_pictures_apart() -> None:
    """Else a predictor that ignores the picture would pass."""
    cases = json.loads((GOLDEN / "predictions.json").read_text())
    texts = {case["captions"][-1]["captions"][0]["text"] for case in cases}
    assert len(texts) == len(cases)
    assert min(len(text.split()) for text in texts) >= 3
    assert len({json.dumps(case["regions"]["boxes"]) for case in cases}) == len(cases)
