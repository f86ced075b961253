"""Errors of tags: measured, kept, and drawn again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distillvlm.data.confusion import ConfusedTags, Confusion, measure_confusion

WORDS = ("dog", "beach", "dogs", "sand", "snow", "car")
DOG, BEACH, DOGS, SAND, SNOW, CAR = range(6)
GROUPS = 4000


def known_process() -> tuple[np.ndarray, np.ndarray]:
    """Photos of a dog, told by one caption of five (then found half of the time, at rank 0) or by all five (always),
    and with chance 0.3 tagged "dogs" too, last. Photos of a beach, told by all and found 0.8 of the time, tagged "sand"
    with chance 0.6, last. Nothing is ever tagged "snow"; cars are told of and never found."""
    draw = np.random.default_rng(0)
    shares, tags = [], []
    for photo in range(GROUPS):
        share = 0.2 if photo % 2 else 1.0
        found = [DOG] if share == 1 or draw.random() < 0.5 else []
        told = {DOG: share, CAR: 1.0}
        found += [DOGS] if draw.random() < 0.3 else []
        if photo % 4 >= 2:
            told, found = {BEACH: 1.0}, [BEACH] if draw.random() < 0.8 else []
            found += [SAND] if draw.random() < 0.6 else []
        shares.append([told.get(word, 0.0) for word in range(len(WORDS))])
        tags.append([found + [-1] * (3 - len(found))])
    return np.array(tags), np.array(shares, np.float32)


@pytest.fixture(scope="module")
def confusion() -> Confusion:
    return measure_confusion(*known_process(), WORDS)


def test_recall_is_found_by_word_and_by_the_share_of_captions_that_say_it(confusion: Confusion) -> None:
    once, always = 0, 3
    assert confusion.recall[DOG, once] == pytest.approx(0.5, abs=0.06)
    assert confusion.recall[DOG, always] == pytest.approx(1.0, abs=0.02)
    assert confusion.recall[BEACH, always] == pytest.approx(0.8, abs=0.04)
    assert confusion.recall[CAR, always] == pytest.approx(0.0, abs=0.01)


def test_wrong_tags_are_found_beside_the_words_that_they_come_with(confusion: Confusion) -> None:
    assert confusion.wrong[DOG, DOGS] == pytest.approx(0.3, abs=0.04)
    assert confusion.wrong[BEACH, SAND] == pytest.approx(0.6, abs=0.04)
    assert confusion.wrong[BEACH, DOGS] == pytest.approx(0.0, abs=0.001)
    assert confusion.wrong[-1] == pytest.approx([0, 0, 0.15, 0.3, 0, 0], abs=0.02)


def test_a_word_that_no_caption_says_errs_like_any_photo(confusion: Confusion) -> None:
    np.testing.assert_allclose(confusion.wrong[SNOW], confusion.wrong[-1], rtol=1e-5)


def test_drawn_tags_have_the_measured_rates_number_and_precision_by_rank(confusion: Confusion) -> None:
    measured, shares = known_process()
    draw = np.random.default_rng(1)
    told = [{word: share for word, share in enumerate(photo) if share} for photo in shares.tolist()]
    drawn = [confusion.draw(photo, draw) for photo in told]
    again = np.array([[tags + [-1] * (3 - len(tags))] for tags in drawn])
    remeasured = measure_confusion(again, shares, WORDS)
    np.testing.assert_allclose(remeasured.recall, confusion.recall, atol=0.06)
    assert np.mean([len(tags) for tags in drawn]) == pytest.approx((measured >= 0).sum(-1).mean(), rel=0.15)
    for rank in range(2):
        assert precision_at(again, shares, rank) == pytest.approx(precision_at(measured, shares, rank), abs=0.15)
    assert precision_at(again, shares, 0) > 0.75 > 0.4 > precision_at(again, shares, 1)


def precision_at(tags: np.ndarray, shares: np.ndarray, rank: int) -> float:
    photos = np.flatnonzero(tags[:, 0, rank] >= 0)
    return float((shares[photos, tags[photos, 0, rank]] > 0).mean())


def test_wrong_tags_are_never_words_that_the_captions_say_and_none_comes_twice(confusion: Confusion) -> None:
    draw = np.random.default_rng(2)
    for _ in range(300):
        tags = confusion.draw({DOG: 0.2, DOGS: 0.2}, draw)
        assert len(tags) == len(set(tags)) <= 3
        assert SNOW not in tags
    anything = {tag for _ in range(300) for tag in confusion.draw({}, draw)}
    assert anything == {DOGS, SAND}


def test_views_of_a_photo_count_as_one_photo() -> None:
    tags, shares = known_process()
    twice = measure_confusion(np.concatenate([tags, tags], axis=1), shares, WORDS)
    once = measure_confusion(tags, shares, WORDS)
    for name in ("recall", "wrong", "sizes", "spreads"):
        np.testing.assert_allclose(getattr(twice, name), getattr(once, name), atol=1e-3)


def test_it_comes_back_from_its_file(confusion: Confusion, tmp_path: Path) -> None:
    confusion.save(tmp_path / "confusion.npz")
    loaded = Confusion.load(tmp_path / "confusion.npz")
    assert loaded.words == WORDS
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    told = {DOG: 0.6, BEACH: 1.0}
    assert [loaded.draw(told, one) for _ in range(20)] == [confusion.draw(told, other) for _ in range(20)]


def test_no_photos_and_photos_without_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="shares"):
        measure_confusion(np.zeros((0, 1, 2), int), np.zeros((0, 3)), WORDS[:3])
    with pytest.raises(ValueError, match="shares"):
        measure_confusion(np.zeros((2, 1, 2), int), np.zeros((1, 3)), WORDS[:3])


def test_texts_are_read_for_the_words_that_they_say(confusion: Confusion) -> None:
    tags = ConfusedTags(confusion, [("A dog", "a puppy on the beach"), ("nothing",)])
    assert tags.told == [{DOG: 0.5, BEACH: 0.5}, {}]
    assert tags.draw(0, np.random.default_rng(5)) == confusion.draw(tags.told[0], np.random.default_rng(5))
