"""GQA's question files, in one file and in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distillvlm.data.gqa import read_gqa
from distillvlm.data.records import Question
from distillvlm.data.vqa import join_questions

from .test_readers import record, write

GQA = {
    "02930152": {
        "imageId": "2354786",
        "question": "Is the sky dark?",
        "answer": "yes",
        "isBalanced": True,
        "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
    },
    "07333408": {
        "imageId": "n161313",
        "question": "What is on the white wall?",
        "answer": "pipe",
        "types": {"detailed": "relS", "semantic": "rel", "structural": "query"},
    },
}


def test_gqa_questions_have_one_answer_and_semantic_types(tmp_path: Path) -> None:
    write(tmp_path / "val_balanced_questions.json", GQA)
    sky, pipe = (
        Question(2930152, "Is the sky dark?", ("yes",), "binary", "attr"),
        Question(7333408, "What is on the white wall?", ("pipe",), "open", "rel"),
    )
    questions = read_gqa(tmp_path, "val", "balanced")
    assert questions == {"2354786": [sky], "n161313": [pipe]}
    joined = join_questions([record("vg/2354786"), record("vg/n161313"), record("vg/1")], "vg", questions, tmp_path)
    assert [one.questions for one in joined] == [(sky,), (pipe,), ()]


def test_gqa_questions_are_read_from_their_parts(tmp_path: Path) -> None:
    parts = tmp_path / "train_all_questions"
    parts.mkdir()
    for place, (number, entry) in enumerate(GQA.items()):
        write(parts / f"train_all_questions_{place}.json", {number: entry | {"imageId": "1"}})
    questions = read_gqa(tmp_path, "train", "all")
    assert [question.question_id for question in questions["1"]] == [2930152, 7333408]
    write(parts / "train_all_questions_2.json", {"2930152": GQA["02930152"]})
    with pytest.raises(ValueError, match=r"questions_2\.json, question 2930152: another question has the id 2930152"):
        read_gqa(tmp_path, "train", "all")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("yes", "string indices"),
        ({name: value for name, value in GQA["02930152"].items() if name != "answer"}, "field 'answer' is missing"),
        (GQA["02930152"] | {"types": {"structural": "query"}}, "field 'semantic' is missing"),
        (GQA["02930152"] | {"imageId": 7}, "expected words, received 7"),
    ],
)
def test_a_malformed_gqa_question_is_named(tmp_path: Path, entry: Any, message: str) -> None:
    write(tmp_path / "testdev_all_questions.json", {"5": entry})
    with pytest.raises(ValueError, match=rf"testdev_all_questions\.json, question 5: .*{message}"):
        read_gqa(tmp_path, "testdev", "all")
    with pytest.raises(ValueError, match=r"expected the annotation file val_all_questions\.json"):
        read_gqa(tmp_path, "val", "all")
    write(tmp_path / "val_all_questions.json", [entry])
    with pytest.raises(ValueError, match=r"val_all_questions\.json, the top level: expected an object"):
        read_gqa(tmp_path, "val", "all")
