"""Expected values: worked by hand from https://visualqa.org/evaluation.html and arXiv:1505.00468, section 3."""

import json
from pathlib import Path

import pytest

from distillvlm.data.records import Question
from distillvlm.data.vqa import read_questions
from distillvlm.evaluation.vqa import (
    answer_score,
    build_answer_vocabulary,
    exact_match,
    normalize_answer,
    soft_targets,
    vqa_accuracy,
    vqa_scores,
)

# What the official script says; `export/golden_scores.py` wrote it down.
GOLDEN = json.loads((Path(__file__).parents[3] / "test" / "golden" / "scores.json").read_text())


def test_answers_have_the_official_script_s_forms_and_accuracies() -> None:
    assert GOLDEN["forms"]
    assert [normalize_answer(each["answer"]) for each in GOLDEN["forms"]] == [each["form"] for each in GOLDEN["forms"]]
    for each in GOLDEN["answers"]:
        assert vqa_accuracy(each["answer"], each["people"]) == pytest.approx(each["accuracy"]), each


def question(*answers: str, question_id: int = 1, answer_type: str = "", question_type: str = "") -> Question:
    return Question(question_id, "what is this?", answers, answer_type, question_type)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Dog", "dog"),
        ("a an the", ""),
        ("two", "2"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("didnt", "didn't"),
        ("its", "its"),
        ("st. louis", "st louis"),
        ("5.50", "5.50"),
        ("yes.", "yes"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("t-shirt", "t shirt"),
        ("2,000", "2000"),
        ("$2,000-3,000", "$20003000"),
        ("10:30", "10:30"),
        ("man's", "man's"),
        (" two\nred\tcars! ", "2 red cars"),
        ("one, two", "1 2"),
    ],
)
def test_normal_form_follows_the_official_rules(answer: str, expected: str) -> None:
    assert normalize_answer(answer) == expected


@pytest.mark.parametrize(
    ("matches", "expected"),
    # n of ten gave it: n leave-one-out sets hold n - 1 of them, 10 - n hold n; each set scores min(1, held / 3).
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0)],
)
def test_accuracy_of_an_answer_that_n_of_ten_gave(matches: int, expected: float) -> None:
    answers = ["red"] * matches + [f"other {index}" for index in range(10 - matches)]
    assert vqa_accuracy("red", answers) == pytest.approx(expected)


def test_accuracy_normalises_both_sides_when_annotators_disagree() -> None:
    assert vqa_accuracy("2", ["Two", "two.", "the two", "2"] + ["3"] * 6) == 1.0
    assert vqa_accuracy("Two!", ["2"] * 5 + ["3"] * 5) == 1.0


def test_accuracy_takes_unanimous_answers_as_they_stand() -> None:
    # The official script normalises only where annotators differ.
    assert vqa_accuracy("2", ["two"] * 10) == 0.0
    assert vqa_accuracy(" two\n", ["two"] * 10) == 1.0


def test_exact_match_ignores_order_and_needs_the_whole_set() -> None:
    assert exact_match("lamp, book", ("book", "lamp")) == 1.0
    assert exact_match("book", ("book", "lamp")) == 0.0
    assert exact_match("The Book", ("book",)) == 1.0


def test_answer_score_uses_agreement_for_ten_annotators_and_exact_match_otherwise() -> None:
    assert answer_score("red", question(*["red"] * 2, *["blue"] * 8)) == pytest.approx(0.6)
    assert answer_score("red", question("red", "blue")) == 0.0
    assert answer_score("blue, red", question("red", "blue")) == 1.0


def test_soft_targets_are_a_third_for_each_annotator_up_to_one() -> None:
    targets = soft_targets(question("red", "Red", "the red", "red", "blue", "blue", "pink", "a", "a", "a"))
    assert targets == pytest.approx({"red": 1.0, "blue": 2 / 3, "pink": 1 / 3})


def test_soft_target_of_one_answer_set_is_one() -> None:
    assert soft_targets(question("lamp", "a book")) == {"book, lamp": 1.0}
    assert soft_targets(question("the")) == {}


def test_answer_vocabulary_keeps_answers_frequent_enough_commonest_first() -> None:
    questions = [question("Yes"), question("yes"), question("no"), question("no."), question("two"), question("yes")]
    assert build_answer_vocabulary(questions, min_count=2) == ["yes", "no"]
    assert build_answer_vocabulary(questions, min_count=1) == ["yes", "no", "2"]
    assert build_answer_vocabulary([], min_count=1) == []


def test_answer_vocabulary_counts_the_most_frequent_answer_not_every_full_target() -> None:
    # Four of ten is already a full target; "no" stands first but is not the most frequent.
    assert build_answer_vocabulary([question(*["no"] * 4, *["yes"] * 6), question("the")], min_count=1) == ["yes"]


def vqa_v2(folder: Path, first: int, answered: list[tuple[str, list[str]]]) -> list[Question]:
    """Questions read from VQA v2's own two files; of each its `multiple_choice_answer` and what ten people said."""
    asked, annotated = folder / f"questions_{first}.json", folder / f"annotations_{first}.json"
    numbers = range(first, first + len(answered))
    questions = [{"question_id": number, "image_id": 1, "question": "What?"} for number in numbers]
    annotations = [
        {"question_id": number, "multiple_choice_answer": chosen, "answers": [{"answer": word} for word in said]}
        for number, (chosen, said) in zip(numbers, answered, strict=True)
    ]
    asked.write_text(json.dumps({"questions": questions}))
    annotated.write_text(json.dumps({"annotations": annotations}))
    return read_questions(asked, annotated)[1]


def test_the_published_vocabulary_counts_what_vqa_v2_calls_the_most_frequent_answer(tmp_path: Path) -> None:
    tie = ["no"] * 5 + ["yes"] * 5
    training = vqa_v2(tmp_path, 0, [("yes", tie)] * 6 + [("A dog.", ["a dog"] * 10)] * 5 + [("a", ["a"] * 10)] * 9)
    validation = vqa_v2(tmp_path, 100, [("yes", tie)] * 3 + [("dog", ["dog"] * 10)] * 4 + [("no", tie)] * 8)
    # 9 times "yes" and "dog" over both files, in the normal form; "no" only 8 times; of "a" nothing is left.
    assert build_answer_vocabulary([*training, *validation], min_count=9) == ["dog", "yes"]


def test_scores_are_averaged_over_all_and_by_type() -> None:
    questions = [
        question(*["yes"] * 10, question_id=1, answer_type="yes/no", question_type="is the"),
        question(*["yes"] * 10, question_id=2, answer_type="yes/no", question_type="are there"),
        question(*["2"] * 1, *["3"] * 9, question_id=3, answer_type="number", question_type="how many"),
    ]
    scores = vqa_scores(questions, {1: "yes", 2: "no", 3: "2"})
    assert scores.of_question == pytest.approx([1.0, 0.0, 0.3])
    assert scores.accuracy == pytest.approx(130 / 3)
    assert scores.by_answer_type == pytest.approx({"yes/no": 50.0, "number": 30.0})
    assert scores.by_question_type == pytest.approx({"is the": 100.0, "are there": 0.0, "how many": 30.0})


def test_missing_answers_and_no_questions_are_errors() -> None:
    with pytest.raises(ValueError, match="1 have none, first: 7"):
        vqa_scores([question("yes", question_id=7)], {8: "yes"})
    with pytest.raises(ValueError, match="at least one question"):
        vqa_scores([], {})
