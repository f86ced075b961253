"""The steps that the paper does not have, as a recipe runs them."""

from dataclasses import replace
from pathlib import Path

import pytest

from distillvlm.engine.trainer import Schedule
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    finetuning_batches,
    new_model,
    parameters_of,
    scst_mix,
    train_scst,
)
from distillvlm.recipes.smoke import smoke
from distillvlm.recipes.teacher_captions import SequenceLevelSettings
from distillvlm.tasks.scst import ScstSettings
from tests.data.photo_set import photo_records, region_store, words


def test_smoke_has_neither_and_a_recipe_that_asks_has_both_in_their_places(tmp_path: Path) -> None:
    plain = smoke(tmp_path, tmp_path / "bundle")
    names = [stage.name for stage in plain.stages()]
    assert not {"teacher-captions", "student-scst"} & set(names)
    both = replace(plain, scst_steps=10, sequence_level=SequenceLevelSettings(times=2))
    names = [stage.name for stage in both.stages()]
    assert names.index("adapted") < names.index("teacher-captions") == names.index("student") - 1
    assert names.index("student") < names.index("student-scst") < names.index("evaluation")
    lessons = {lesson.stage: lesson for lesson in both.lessons()}
    assert [stage for stage, lesson in lessons.items() if lesson.captions_of] == ["student"]
    assert lessons["student-scst"].begins == "student"
    assert lessons["student-scst"].rate == pytest.approx(both.learning_rate / 6)


def test_self_critical_training_is_judged_by_all_captions_uncut_and_learns_some_of_them(tmp_path: Path) -> None:
    records, vocabulary = photo_records(tmp_path), words()
    store = region_store(tmp_path / "regions", records)
    learnt = TextMix(captions=(3, 1), questions=(3, 1), caption_steps=3, question_steps=2, max_caption_tokens=3)
    mix = replace(scst_mix(learnt), caption_steps=1)
    batches = finetuning_batches(records, vocabulary, mix, 0, store)
    references, captions, _ = batches.sources
    assert [len(text) for text in references.pool.texts[0]] == [11] * 5  # [CLS], nine words and [SEP]
    assert max(len(references.batch(step).tokens[0]) for step in range(2)) == 5
    assert [len(text) for text in captions.pool.texts[0]] == [4] * 5  # what is learnt is cut as in fine-tuning
    kinds = [batches.batch(step).kind for step in range(len(batches))]
    assert {kind: kinds.count(kind) for kind in kinds} == {"references": 3, "captions": 1, "questions": 2}
    model = new_model(ModelSize(16, 1, 2, 32), vocabulary, feature_size=2, seed=0)
    schedule = Schedule(6, 1e-3, precision="no")
    settings = ScstSettings(samples=2, max_tokens=4)
    facts = train_scst(model, records, vocabulary, settings, batches, schedule, tmp_path / "scst", seed=0)
    measured = {"reward", "baseline", "distinct", "function_word_endings"}
    assert facts.keys() == {"parameters", "policy", "caption", "answer", "gradient shares"} | measured
    assert facts["parameters"] == parameters_of(model)
