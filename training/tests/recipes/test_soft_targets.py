"""Soft targets as a recipe writes them: every text has the distribution of the teacher that has not seen its photo."""

from pathlib import Path

import pytest
import torch

from distillvlm.data.text_batches import TextBatches, TextPool
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.language import ModelSize, TextMix, caption_texts, new_model, question_texts
from distillvlm.recipes.soft_targets import LIKELIEST, soft_targets_of
from distillvlm.tasks.language import LanguageObjective
from tests.data.photo_set import photo_records, region_store, words

WORDS = words()
TEACHER_OF_PHOTO = [0, 1, 0, 1, 1, 0]


@pytest.mark.parametrize("kind", ["captions", "questions"])
def test_each_text_is_told_by_the_teacher_of_its_photo(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIKELIEST, "captions", 4)
    monkeypatch.setitem(LIKELIEST, "questions", 2)
    records = photo_records(tmp_path)
    store = region_store(tmp_path / "store", records)
    mix = TextMix((2, 3), (2, 3), 1, 1)
    pool: TextPool = (caption_texts if kind == "captions" else question_texts)(records, WORDS, mix)
    teachers = [new_model(ModelSize(16, 2, 2, 32), WORDS, 2, seed).eval() for seed in range(2)]
    soft = soft_targets_of(teachers, TEACHER_OF_PHOTO, pool, WORDS, store, tmp_path / "soft")
    batches = TextBatches(pool, WORDS.tokenizer, len(WORDS.answers), 1, 3, seed=1, store=store, soft=soft)
    for step in range(8):
        batch = batches.batch(step)
        assert batch.soft is not None
        teacher: VisionLanguageModel = teachers[TEACHER_OF_PHOTO[int(batch.photos)]]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            outputs = LanguageObjective().run(teacher, batch.regions, batch)
        if kind == "captions":
            expected = outputs.logits["caption"].float().softmax(-1).topk(4).values
            told = batch.soft[batch.targets != 0].probabilities
            assert not batch.soft.probabilities[batch.targets == 0].any()
        else:
            expected = outputs.logits["answer"].float().sigmoid().topk(2).values
            told = batch.soft[batch.valid].probabilities
        torch.testing.assert_close(told, expected, atol=4e-3, rtol=0.02)
