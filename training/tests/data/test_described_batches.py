"""Tags told of by sentences, and captions learnt from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from distillvlm.data.confusion import Confusion
from distillvlm.data.described_batches import DescribedBatches
from distillvlm.data.text_batches import UNSEEN_PHOTOS
from distillvlm.data.text_only import PhotoText
from distillvlm.data.told_tags import ToldTags
from distillvlm.data.words import Words, collect_words

TAGS = ("person", "ball", "sports ball", "bus", "hot dog", "dog")
CAPTIONS = ("two men and a ball", "a dog on a bus")


def words() -> Words:
    return collect_words(CAPTIONS * 5, ["a zebra"] * 5, TAGS, ["yes"], min_count=2)


def described(photos: list[PhotoText], num_tags: int = 4) -> DescribedBatches:
    return DescribedBatches(photos, words(), (2, 2), 20, num_tags, feature_size=7, seed=3, confusion=certain(tag=4))


def told(*sentences: str) -> set[str]:
    return {TAGS[row] for row in ToldTags(TAGS)(sentences)}


def test_tags_are_found_by_name_by_synonym_and_in_the_plural() -> None:
    assert told("Buses, and a KITTEN") == {"bus"}
    assert told("three women") == {"person"}
    assert told("a puppy", "some boys") == {"dog", "person"}
    assert told("dogma") == set()


def test_names_of_several_words_are_found_beside_those_within_them() -> None:
    assert told("a hot dog") == {"hot dog", "dog"}
    assert told("hot buns for a dog") == {"dog"}


def test_the_batch_of_a_step_is_the_same_however_often_it_is_asked_for() -> None:
    photos = [PhotoText(f"coco/{number}", CAPTIONS) for number in range(5)]
    one, other = described(photos), described(photos)
    other.batch(0)
    first, second = one.batch(4), other.batch(4)
    assert torch.equal(first.tokens, second.tokens)
    assert first.regions is not None
    assert second.regions is not None
    assert torch.equal(first.regions.tags, second.regions.tags)


def test_no_more_tags_than_a_detector_gives() -> None:
    everything = ["a dog and a man on a bus with a ball and a hot dog"]
    batches = described([PhotoText(f"coco/{number}", (*CAPTIONS, *everything)) for number in range(2)], num_tags=1)
    for step in range(20):
        regions = batches.batch(step).regions
        assert regions is not None
        assert regions.tags.shape == (2, 1)


def test_captions_with_words_that_no_caption_may_say_are_left_out() -> None:
    photos = [PhotoText("coco/1", ("a zebra", CAPTIONS[0])), PhotoText("coco/2", (CAPTIONS[1],))]
    photos.append(PhotoText("coco/3", ("a zebra",)))
    batches = described(photos)
    assert len(batches.tags.told) == 2
    zebra = words().tokenizer.encode("zebra")[0]
    assert not any(zebra in batches.batch(step).tokens for step in range(10))


def certain(tag: int) -> Confusion:
    """Finds every told word, ranked after the one wrong tag that it always gives."""
    size = len(TAGS)
    wrong = np.zeros((size + 1, size))
    wrong[:, tag] = 1
    ranks = np.ones(size), np.zeros(size)
    return Confusion(TAGS, np.ones((size, 4)), wrong, np.eye(4)[3], *ranks, np.zeros(2))


def test_tags_of_a_concept_head_are_drawn_by_its_confusion_from_words_as_they_are_written() -> None:
    photos = [PhotoText("coco/1", CAPTIONS[:1]), PhotoText("coco/2", ("a dog on a bus",))]
    batch = described(photos).batch(0)
    assert batch.kind == "captions"
    assert batch.regions is not None
    assert batch.regions.features.shape == (2, 0, 7)
    tags = dict(zip((batch.photos - UNSEEN_PHOTOS).tolist(), batch.regions.tags.tolist(), strict=True))
    assert tags == {0: [4, 1, -1, -1], 1: [4, 3, 5, -1]}  # "men" are no "person"


def test_a_confusion_of_other_words_is_refused() -> None:
    other = replace(certain(tag=4), words=TAGS[::-1])
    with pytest.raises(ValueError, match="confusion"):
        DescribedBatches([PhotoText("coco/1", CAPTIONS)], words(), (1, 2), 20, 4, 7, 3, other)
