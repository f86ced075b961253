"""The trainings of the recipe for photos, as its settings have them: what each is fed, and what it stands on."""

from dataclasses import replace
from pathlib import Path

import pytest

from distillvlm.data.records import GENERATED, Question
from distillvlm.recipes.language import TextMix, asked_texts, finetuning_batches
from distillvlm.recipes.photos.arms import longer
from distillvlm.recipes.photos.lessons import PhotoLesson, Shares, Steps
from distillvlm.recipes.photos.settings import photos, photos_evidence
from distillvlm.recipes.pipeline import ancestors_of
from tests.data.photo_set import photo_records, region_store, words

SHARES = Shares(captions=0.4, spoken=0.2, questions=0.25, unseen=0.15, asked=0.6, drawn=0.6)
LESSON = PhotoLesson("student", "student", "finetuning", "student-regions", steps=100)
NOWHERE = [Path(name) for name in ("data", "wordnet", "weights", "runs", "bundle")]


@pytest.mark.parametrize(
    ("lesson", "steps"),
    [
        (replace(LESSON, spoken=True), {"caption": 40, "spoken": 20, "question": 10, "asked": 15, "unseen": 15}),
        (LESSON, {"caption": 60, "question": 10, "asked": 15, "unseen": 15}),
        (replace(LESSON, kind="scst"), {"reference": 60, "caption": 24, "question": 4, "asked": 6, "unseen": 6}),
        (replace(LESSON, kind="texts"), {"described": 100}),
        (replace(LESSON, blind=True), {"question": 25, "asked": 37, "unseen": 38}),
    ],
)
def test_shares_divide_a_trainings_steps_whole(lesson: PhotoLesson, steps: dict[str, int]) -> None:
    divided = SHARES.divide(TextMix((4, 1), (1, 1), 0, 0), lesson)
    kinds = ("caption", "spoken", "reference", "question", "asked", "unseen", "described")
    assert {kind: getattr(divided, f"{kind}_steps") for kind in kinds} == {**dict.fromkeys(kinds, 0), **steps}
    assert divided.steps == 100
    assert divided.references == (4 if lesson.kind == "scst" else 0)


def test_shares_that_are_no_whole_are_refused() -> None:
    with pytest.raises(ValueError, match=r"to be 1 together, not 1\.15"):
        Shares(captions=0.6, spoken=0.15, questions=0.2, unseen=0.2)


def test_peoples_questions_have_batches_of_their_own(tmp_path: Path) -> None:
    records = photo_records(tmp_path)
    made = [Question(100 + number, "is there a dog?", ("no",), question_type=GENERATED) for number in range(9)]
    records = [replace(record, questions=(*record.questions, *made)) for record in records]
    untouched = replace(records[0], questions=tuple(made))  # has none of people
    mix = TextMix((3, 1), (3, 2), 0, 2, asked=(3, 2), asked_steps=3)
    pool = asked_texts([untouched, *records[1:]], words(), mix)
    assert pool.photo_ids == tuple(record.photo_id for record in records[1:])
    assert [len(texts) for texts in pool.texts] == [1] * 5
    batches = finetuning_batches(records, words(), mix, 0, region_store(tmp_path / "regions", records))
    widths = [batches.batch(step).tokens.shape[1] for step in range(len(batches))]
    assert {width: widths.count(width) for width in widths} == {1: 3, 2: 2}


def test_whoever_builds_a_teacher_stands_on_the_regions_that_its_size_is_read_from() -> None:
    stages = photos(*NOWHERE).stages()
    ancestors = ancestors_of(stages)
    lessons = {stage.name: stage.settings["lesson"] for stage in stages if "lesson" in stage.settings}
    teachers = [name for name, lesson in lessons.items() if isinstance(lesson, PhotoLesson) and lesson.who == "teacher"]
    assert "teacher-texts" in teachers
    assert all("shared-regions" in ancestors[name] for name in teachers)


def test_a_plain_student_is_trained_as_long_as_a_distilled_one() -> None:
    arm = longer(Steps(texts=0, pretraining=250, finetuning=1000, rate=1e-3), times=2.2, seed=1)
    first, last = arm.lessons
    assert (first.steps, last.steps) == (550, 2200)
    assert (first.stage, last.stage, last.begins) == ("none-longer-1-pretraining", "none-longer-1", first.stage)
    assert (arm.cell, arm.name) == ("none, longer", "none-longer-1")
    assert first.taught_by is last.taught_by is None


def test_the_recipe_takes_half_a_day_and_its_evidence_another() -> None:
    recipe, evidence = photos(*NOWHERE).stages(), photos_evidence(*NOWHERE, Path("docs")).stages()
    own = {stage.name for stage in evidence} - {stage.name for stage in recipe}
    assert 8 * 3600 < sum(stage.seconds for stage in recipe) < 12 * 3600
    assert 8 * 3600 < sum(stage.seconds for stage in evidence if stage.name in own) < 12 * 3600
    assert all(stage.seconds or stage.repeats for stage in (*recipe, *evidence))
