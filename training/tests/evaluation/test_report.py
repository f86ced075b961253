import json
from pathlib import Path

import pytest

from distillvlm.data.records import COCO_QA, GENERATED, Question, Record
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


def test_margin_over_another_model_is_paired_over_all_data_sets() -> None:
    [row] = compare_answers(VALIDATION, ANSWERS, {"majority": text_baselines(VALIDATION, TRAINING)["majority"]})
    # Model: 100 100 0 | 100 100; majority: 100 0 0 | 100 0.
    assert row["difference"] == pytest.approx((400 - 200) / 5)
    assert row["low"] <= row["difference"] <= row["high"]
    assert (row["a"], row["b"], row["pairs"], row["unit"]) == ("model", "majority", 5, "photo")


def test_a_model_compared_with_itself_is_level() -> None:
    [row] = compare_answers(VALIDATION, ANSWERS, {"itself": ANSWERS})
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)


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
    assert [comparison["b"] for comparison in report["comparisons"]] == list(report["baselines"])
    table = markdown(report)
    assert f"| coco | 2 | {cider:.1f} [" in table
    assert "| daquar | exact match | 2 | 100.0 [100.0, 100.0] |" in table
    assert "| blind model | 0.0 [0.0, 0.0] | 5 |" in table


def test_a_photo_without_a_caption_is_refused() -> None:
    with pytest.raises(ValueError, match="of the 2 photos with references but received 1"):
        evaluate(VALIDATION, TRAINING, {"coco/3": "a dog"}, ANSWERS)
