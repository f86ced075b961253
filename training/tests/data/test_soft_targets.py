"""A teacher's soft targets on disk: each text of a batch gets what the teacher said of it in that view."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distillvlm.data.soft_targets import LARGEST_ID, Likeliest, SoftTargets, write_soft_targets
from distillvlm.data.text_batches import TextBatches, caption_pool, question_pool
from distillvlm.evaluation.vqa import soft_targets

from .photo_set import photo_records, region_store, words

WORDS = words()
TOKENIZER = WORDS.tokenizer


def told_apart(view: int, texts: np.ndarray, places: tuple[int, ...]) -> Likeliest:
    """Ids that tell the text's number, probabilities that tell the view."""
    shape = (len(texts), *places, 2)
    ids = torch.from_numpy(texts).reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    return Likeliest(ids, torch.full(shape, (view + 1) / 8))


def test_each_caption_meets_its_own_targets(tmp_path: Path) -> None:
    records = photo_records(tmp_path)
    records = [
        records[0],
        *(
            replace(record, captions=(f"a dog number {place} sits", f"the tree {place}"))
            for place, record in enumerate(records[1:], 1)
        ),
    ]
    pool = caption_pool(records, TOKENIZER, max_tokens=20)
    length = max(len(text) for texts in pool.texts for text in texts) - 1

    def parts() -> Iterator[tuple[int, np.ndarray, Likeliest]]:
        for view in range(2):
            for texts in np.array_split(np.arange(pool.size), 4):
                yield view, texts, told_apart(view, texts, (length - 1,))

    soft = write_soft_targets(parts(), 8, (2, pool.size, length, 2), tmp_path / "soft")
    store = region_store(tmp_path / "store", records)
    batches = TextBatches(pool, TOKENIZER, 3, 2, 3, seed=1, store=store, soft=soft)
    numbers = {
        (row, pool.texts[row][pick][:-1]): sum(map(len, pool.texts[:row])) + pick
        for row in range(len(pool.texts))
        for pick in range(len(pool.texts[row]))
    }
    for step in range(9):
        batch = batches.batch(step)
        assert batch.soft is not None
        assert batch.soft.ids.shape == (*batch.tokens.shape, 2)
        for photo, number in enumerate(batch.photos.tolist()):
            view = int(batch.regions.features[photo, 0, 1])
            for text in torch.nonzero(batch.valid[photo]).flatten().tolist():
                assert batch.soft.probabilities[photo, text, 0].tolist() == [(view + 1) / 8] * 2
                said = tuple(token for token in batch.tokens[photo, text].tolist() if token != TOKENIZER.pad_id)
                if view == 0 and number:  # the first photo's captions are all the same
                    assert batch.soft.ids[photo, text, 0, 0] == numbers[number, said]


def test_questions_have_one_set_of_answers_each(tmp_path: Path) -> None:
    records = photo_records(tmp_path)
    groups = [(record.photo_id, record.questions) for record in records]
    pool = question_pool(groups, TOKENIZER, soft_targets, WORDS.answers, max_tokens=20)
    parts = [(view, np.arange(pool.size), told_apart(view, np.arange(pool.size), ())) for view in range(2)]
    write_soft_targets(iter(parts), 2, (2, pool.size, 2), tmp_path / "soft")
    store, soft = region_store(tmp_path / "store", records), SoftTargets(tmp_path / "soft")
    batches = TextBatches(pool, TOKENIZER, 3, 2, 3, seed=1, store=store, soft=soft)
    batch = batches.batch(0)
    assert batch.soft is not None
    assert batch.soft.ids[:, 0].tolist() == [[number] * 2 for number in batch.photos.tolist()]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    records = photo_records(tmp_path)
    pool = caption_pool(records, TOKENIZER, max_tokens=20)
    with pytest.raises(ValueError, match="expected a teacher's soft targets"):
        SoftTargets(tmp_path / "soft")
    texts = np.arange(2)
    soft = write_soft_targets(iter([(0, texts, told_apart(0, texts, (3,)))]), 1, (1, 2, 3, 2), tmp_path / "soft")
    store = region_store(tmp_path / "store", records)
    with pytest.raises(ValueError, match=f"expected soft targets of {pool.size} texts but received 2"):
        TextBatches(pool, TOKENIZER, 3, 2, 3, seed=1, store=store, soft=soft)
    beyond = told_apart(0, texts + LARGEST_ID, (3,))
    with pytest.raises(ValueError, match="expected ids up to 65535 but received 65536"):
        write_soft_targets(iter([(0, texts, beyond)]), 1, (1, 2, 3, 2), tmp_path / "other")
