import json
from dataclasses import replace
from pathlib import Path

import pytest

from distillvlm.data.records import COCO_QA, GENERATED, Question, Record
from distillvlm.data.text_only import PhotoText
from distillvlm.evaluation.captions import bleu_counts, bleu_of_counts, cider_d
from distillvlm.evaluation.report import (
    asked,
    captioned,
    compare_answers,
    evaluate,
    markdown,
    question_report,
    text_baselines,
)


def question(question_id: int, *answers: str, text: str = "what is it?", question_type: str = "what is") -> Question:
    return Question(question_id, text, answers, "other", question_type)


def record(photo_id: str, *questions: Question, captions: tuple[str, ...] = (), split: str = "val") -> Record:
    return Record(
        photo_id,
        Path(f"{photo_id}.jpg"),
        8,
        8,
        "train" if split == "train" else "val",
        photo_id.partition("/")[0],
        captions,
        questions,
    )


DOG = ("a dog runs", "the dog runs fast", "a brown dog", "dog on grass", "a dog outside")
CAT = ("a cat sits", "the cat sits still", "a black cat", "cat on table", "a cat inside")
TRAINING = [
    record("coco/1", question(1, *["dog"] * 10), question(2, *["cat"] * 10), captions=DOG, split="train"),
    record("coco/2", question(3, *["dog"] * 10), captions=("a dog", "a boat"), split="train"),
    record("daquar/1", question(1, "lamp"), split="train"),
]
VALIDATION = [
    record("coco/3", question(4, *["dog"] * 10), question(5, *["cat"] * 10), captions=DOG),
    record("coco/4", question(6, *["cat"] * 10), question(7, "cat", question_type=COCO_QA), captions=CAT),
    record("coco/5", captions=DOG[:4]),
    record("daquar/2", question(4, "lamp"), question(5, "lamp", "book")),
]
CAPTIONS = {"coco/3": "a dog runs", "coco/4": "a dog"}
ANSWERS = {"coco": {4: "dog", 5: "cat", 6: "dog"}, "daquar": {4: "lamp", 5: "book, lamp"}}


def test_photos_with_five_captions_and_human_questions_are_scored() -> None:
    assert [photo.photo_id for photo in captioned(VALIDATION)] == ["coco/3", "coco/4"]
    assert [item.question_id for _, item in asked(VALIDATION)] == [4, 5, 6, 4, 5]


def test_questions_are_scored_by_data_set_with_its_own_metric() -> None:
    report = question_report(VALIDATION, ANSWERS)
    assert report["coco"]["metric"] == "VQA"
    assert report["daquar"]["metric"] == "exact match"
    assert (report["coco"]["questions"], report["coco"]["photos"]) == (3, 2)
    # Two photos: coco/3 scores 100 and 100, coco/4 scores 0; the resamples are 0 (both coco/4) to 100.
    assert report["coco"]["accuracy"] == pytest.approx({"value": 200 / 3, "low": 0, "high": 100})
    assert report["daquar"]["accuracy"]["value"] == 100


def test_a_data_set_with_both_kinds_of_questions_is_refused() -> None:
    mixed = [record("coco/9", question(1, *["a"] * 10), question(2, "a"))]
    with pytest.raises(ValueError, match="10 answers to every question of coco or to none"):
        question_report(mixed, {"coco": {1: "a", 2: "a"}})


def test_majority_is_that_of_the_training_questions_of_the_same_data_set() -> None:
    assert text_baselines(VALIDATION, TRAINING)["majority"] == {
        "coco": {4: "dog", 5: "dog", 6: "dog"},
        "daquar": {4: "lamp", 5: "lamp"},
    }


@pytest.mark.parametrize("made_by_a_program", [COCO_QA, GENERATED])
def test_questions_of_a_program_are_no_persons_prior(made_by_a_program: str) -> None:
    made = [question(100 + n, "yes", question_type=made_by_a_program) for n in range(50)]
    training = [*TRAINING, record("coco/99", *made, split="train"), record("daquar/99", *made, split="train")]
    assert text_baselines(VALIDATION, training) == text_baselines(VALIDATION, TRAINING)


def test_questions_without_a_photo_are_a_prior_too() -> None:
    asked_alone = [PhotoText(f"coco/{n}", (), (question(n, *["cat"] * 10),)) for n in (100, 101)]
    made = PhotoText("coco/102", (), tuple(question(n, "no", question_type=GENERATED) for n in range(50)))
    found = text_baselines(VALIDATION, TRAINING, [*asked_alone, made])
    cats = {4: "cat", 5: "cat", 6: "cat"}
    assert found["majority"] == {"coco": cats, "daquar": {4: "lamp", 5: "lamp"}}
    assert found["question type prior"]["coco"] == cats


def test_margin_over_another_model_is_paired_and_told_for_each_data_set() -> None:
    rows = compare_answers(VALIDATION, ANSWERS, {"majority": text_baselines(VALIDATION, TRAINING)["majority"]})
    # Model: 100 100 0 | 100 100; majority: 100 0 0 | 100 0.
    coco, daquar = rows
    assert coco["difference"] == pytest.approx(100 / 3)
    assert daquar["difference"] == pytest.approx(50)
    assert (coco["data"], coco["metric"], coco["pairs"]) == ("coco", "VQA", 3)
    assert (daquar["data"], daquar["metric"], daquar["pairs"]) == ("daquar", "exact match", 2)
    for row in rows:
        assert row["low"] <= row["difference"] <= row["high"]
        assert (row["a"], row["b"], row["unit"]) == ("model", "majority", "photo")


def test_a_model_compared_with_itself_is_level() -> None:
    rows = compare_answers(VALIDATION, ANSWERS, {"itself": ANSWERS})
    assert [(row["difference"], row["low"], row["high"]) for row in rows] == [(0, 0, 0)] * 2


def test_accuracy_is_told_by_type_of_answer_where_the_data_set_has_types() -> None:
    typed = replace(question(8, *["two"] * 10), answer_type="number")
    asked_too = record("coco/6", typed, replace(typed, question_id=9))
    answers = {"coco": {**ANSWERS["coco"], 8: "two", 9: "three"}, "daquar": {4: "", 5: ""}}
    untyped = record("daquar/3", *(replace(one, answer_type="") for one in VALIDATION[-1].questions))
    report = evaluate([*VALIDATION[:-1], asked_too, untyped], TRAINING, CAPTIONS, answers)
    by_type = report["questions"]["coco"]["by_answer_type"]
    assert {kind: (row["questions"], row["accuracy"]["value"]) for kind, row in by_type.items()} == {
        "number": (2, 50.0),
        "other": (3, pytest.approx(200 / 3)),
    }
    assert report["questions"]["daquar"]["by_answer_type"] == {}
    # One photo has all questions on numbers: drawn again, it is the same.
    assert "| coco | number | 2 | 50.0 [50.0, 50.0] | 0.0 [0.0, 0.0] | 0.0 [0.0, 0.0] |" in markdown(report)


def test_missing_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 have none"):
        question_report(VALIDATION, {"coco": ANSWERS["coco"]})


def test_whole_report_is_json_and_has_the_scores_of_its_captions() -> None:
    report = json.loads(json.dumps(evaluate(VALIDATION, TRAINING, CAPTIONS, ANSWERS, blind_answers=ANSWERS)))
    # These sentences are their own tokens.
    hypotheses = {photo_id: [caption] for photo_id, caption in CAPTIONS.items()}
    references = {"coco/3": list(DOG), "coco/4": list(CAT)}
    cider = cider_d(hypotheses, references).mean()
    corpus_cider = cider_d(hypotheses, references, [DOG, ("a dog", "a boat")]).mean()
    bleu = bleu_of_counts(bleu_counts(hypotheses, references).sum(axis=0, keepdims=True))
    row = report["captions"]["coco"]
    assert row["CIDEr-D"]["value"] == pytest.approx(cider)
    assert row["CIDEr-D (training idf)"]["value"] == pytest.approx(corpus_cider)
    assert row["BLEU-4"]["value"] == pytest.approx(bleu[0])
    assert row["BLEU-4"]["low"] <= row["BLEU-4"]["value"] <= row["BLEU-4"]["high"]
    assert (row["photos"], row["distinct_sentences"]) == (2, 2)
    assert list(report["baselines"]) == ["majority", "question type prior", "blind model"]
    assert [(row["data"], row["b"]) for row in report["comparisons"]] == [
        (source, name) for source in ("coco", "daquar") for name in report["baselines"]
    ]
    table = markdown(report)
    assert f"| coco | 2 | {cider:.1f} [" in table
    assert "| daquar | exact match | 2 | 100.0 [100.0, 100.0] |" in table
    assert "| coco | blind model | 0.0 [0.0, 0.0] | 3 |" in table
    assert "| daquar | blind model | 0.0 [0.0, 0.0] | 2 |" in table


def test_a_photo_without_a_caption_is_refused() -> None:
    with pytest.raises(ValueError, match="of the 2 photos with references but received 1"):
        evaluate(VALIDATION, TRAINING, {"coco/3": "a dog"}, ANSWERS)
