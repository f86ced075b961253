"""Batches of the dense layout: targets, mirrored texts, epochs, and the same batch for the same step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distillvlm.data.pretraining_batches import MaskTokens, PretrainingBatches
from distillvlm.data.records import Question
from distillvlm.data.text_batches import MixedBatches, TextBatches, caption_pool, mirror_words, question_pool
from distillvlm.evaluation.vqa import soft_targets

from .photo_set import photo_records, region_store, words

WORDS = words()
TOKENIZER = WORDS.tokenizer


def caption_batches(folder: Path, batch_size: int = 2, views: int = 2) -> TextBatches:
    records = photo_records(folder)
    pool = caption_pool(records, TOKENIZER, max_tokens=20)
    return TextBatches(pool, TOKENIZER, 3, batch_size, 3, seed=1, store=region_store(folder / "store", records, views))


def test_targets_are_the_next_words_and_the_end(tmp_path: Path) -> None:
    batch = caption_batches(tmp_path).batch(0)
    for photo in range(2):
        for text in range(batch.tokens.shape[1]):
            words_T = [token for token in batch.tokens[photo, text].tolist() if token != TOKENIZER.pad_id]
            targets_T = [token for token in batch.targets[photo, text].tolist() if token != 0]
            assert bool(batch.valid[photo, text]) == bool(words_T)
            if words_T:
                assert words_T[0] == TOKENIZER.cls_id
                assert targets_T == [*words_T[1:], TOKENIZER.sep_id]


def test_mirrored_photos_have_mirrored_words(tmp_path: Path) -> None:
    batches = caption_batches(tmp_path)
    seen = set()
    for step in range(12):
        batch = batches.batch(step)
        for photo in range(2):
            view = int(batch.regions.features[photo, 0, 1])
            sentence = TOKENIZER.decode(batch.tokens[photo, 0].tolist())
            assert ("right" in sentence, "left" in sentence) == (view == 1, view == 0)
            seen.add(view)
    assert seen == {0, 1}


def test_an_epoch_has_every_photo_once_and_its_own_regions(tmp_path: Path) -> None:
    batches = caption_batches(tmp_path)
    photos = []
    for step in range(batches.steps_per_epoch):
        batch = batches.batch(step)
        photos += batch.photos.tolist()
        for photo, number in enumerate(batch.photos.tolist()):
            assert float(batch.regions.features[photo, 0, 0]) == 40 * number
            assert f"number {number}" in TOKENIZER.decode(batch.tokens[photo, 0].tolist())
    assert sorted(photos) == list(range(6))


def test_the_batch_of_a_step_does_not_depend_on_what_was_asked_before(tmp_path: Path) -> None:
    batches = caption_batches(tmp_path)
    late = batches.batch(7)
    batches.batch(1)
    again = batches.batch(7)
    assert torch.equal(late.tokens, again.tokens)
    assert torch.equal(late.regions.features, again.regions.features)


def test_questions_have_soft_scores_that_follow_the_mirror(tmp_path: Path) -> None:
    records = photo_records(tmp_path)
    groups = [(record.photo_id, record.questions) for record in records]
    pool = question_pool(groups, TOKENIZER, soft_targets, WORDS.answers, max_tokens=20)
    batches = TextBatches(pool, TOKENIZER, 3, 3, 1, seed=1, store=region_store(tmp_path / "store", records))
    batch = batches.batch(0)
    for photo in range(3):
        mirrored = int(batch.regions.features[photo, 0, 1]) == 1
        assert batch.targets[photo, 0].tolist() == [1.0, 1.0, 0.0]  # 7 and 3 of ten annotators: both full scores
        assert ("right" in TOKENIZER.decode(batch.tokens[photo, 0].tolist())) == mirrored
        assert batch.tokens[photo, 0, 0] == TOKENIZER.cls_id
        assert TOKENIZER.sep_id in batch.tokens[photo, 0].tolist()


def test_questions_without_a_known_answer_are_left_out() -> None:
    records_questions = [(None, [question]) for question in (_question("blue"), _question("no"))]
    pool = question_pool(records_questions, TOKENIZER, soft_targets, WORDS.answers, max_tokens=20)
    assert len(pool.texts) == 1
    assert pool.photo_ids is None


def test_texts_without_photos_have_numbers_of_their_own() -> None:
    pool = question_pool([(None, [_question("no")])] * 4, TOKENIZER, soft_targets, WORDS.answers, max_tokens=20)
    batch = TextBatches(pool, TOKENIZER, 3, 2, 1, seed=0).batch(0)
    assert batch.regions is None
    assert batch.photos.min() >= 1_000_000_000


def test_a_mix_gives_each_source_its_steps_in_order(tmp_path: Path) -> None:
    captions = caption_batches(tmp_path)
    pool = question_pool([(None, [_question("no")])] * 4, TOKENIZER, soft_targets, WORDS.answers, max_tokens=20)
    unseen = TextBatches(pool, TOKENIZER, 3, 2, 1, seed=0)
    mix = MixedBatches([(captions, 5), (unseen, 3)], seed=4)
    batches = [mix.batch(step) for step in range(len(mix))]
    mine = [batch for batch in batches if batch.kind == "captions"]
    assert len(mine) == 5
    for step, batch in enumerate(mine):
        assert torch.equal(batch.tokens, captions.batch(step).tokens)


def test_pretraining_masks_tags_and_pollutes_texts(tmp_path: Path) -> None:
    captions = MixedBatches([(caption_batches(tmp_path, batch_size=3), 20)], seed=2)
    masking = MaskTokens(TOKENIZER.mask_id, TOKENIZER.mask_id + 1, len(WORDS.vocabulary))
    batches = PretrainingBatches(captions, WORDS.lexicon.tag_tokens, masking, polluted_share=0.5, seed=2)
    matched = []
    for step in range(20):
        batch = batches.batch(step)
        matched += batch.matched.tolist()
        dog = TOKENIZER.encode("dog")[0]
        assert batch.tag_targets[:, 0].tolist() == [dog] * 3  # the only token of the only tag
        for photo, own in enumerate(batch.matched.tolist()):
            sentence = batch.match_tokens[photo, 0].clone()
            masked = batch.match_targets[photo, 0] != 0
            sentence[masked] = batch.match_targets[photo, 0][masked]
            number = int(batch.photos[photo])
            assert (f"number {number} " in TOKENIZER.decode(sentence.tolist())) == own
            assert bool(masked.any()) == own
            assert not masked[0]
    assert 0.3 < sum(matched) / len(matched) < 0.7


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (5, 1), (10, 2), (14, 2), (20, 3), (60, 3)])
def test_how_many_tokens_are_masked(count: int, expected: int) -> None:
    tokens = np.arange(10, 10 + count)
    masked, targets = MaskTokens(4, 5, 100)(tokens, np.ones(count, bool), np.random.default_rng(0))
    assert (targets != 0).sum() == expected
    assert np.array_equal(np.where(targets != 0, targets, masked), tokens)


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("Left of the leftmost dog", "right of the rightmost dog"),
        ("the right hand", "the left hand"),
        ("bright leftovers", "bright leftovers"),
    ],
)
def test_mirror_words(text: str, mirrored: str) -> None:
    assert mirror_words(text) == mirrored


def _question(answer: str) -> Question:
    return Question(1, "is the dog on the left?", (answer,) * 10)
