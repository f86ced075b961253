"""A mix of text sources: shares, kinds of batches, what each text says, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distillvlm.data.pretraining_batches import MaskTokens, PretrainingBatches
from distillvlm.data.records import ObjectBox, Question, Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_batches import MixedBatches
from distillvlm.data.text_only import PhotoText
from distillvlm.data.text_sources import TextSource, caption_source, mix_sources, question_source, tag_source

from .photo_set import photo_records, region_store, words

WORDS = words()
TOKENIZER = WORDS.tokenizer
BOX = (0.0, 0.0, 4.0, 4.0)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Photo i has as tags a dog, or a dog and a tree; its boxes name the dog twice."""
    labels = [("dog", "dog"), ("dog", "tree", "dog")]
    return [
        replace(record, objects=tuple(ObjectBox(BOX, label) for label in labels[place % 2]))
        for place, record in enumerate(photo_records(tmp_path))
    ]


@pytest.fixture
def store(tmp_path: Path, records: list[Record]) -> RegionStore:
    return region_store(tmp_path / "store", records, views=1)


def sources(records: list[Record]) -> list[TextSource]:
    made = [
        PhotoText(record.photo_id, questions=(Question(9, "is the tree on the left?", ("no",)),)) for record in records
    ]
    return [
        caption_source(records, TOKENIZER, 20, weight=2.0),
        question_source(records, TOKENIZER, 20, "vqa", 0.5),
        question_source(made, TOKENIZER, 20, "generated", 1.0),
        tag_source(records, TOKENIZER, 20, weight=0.5),
    ]


def mix(records: list[Record], store: RegionStore, steps: int = 16) -> MixedBatches:
    return mix_sources(sources(records), TOKENIZER, (2, 1), steps, seed=3, store=store)


def test_each_source_has_its_share_of_the_steps(records: list[Record], store: RegionStore) -> None:
    batches = mix(records, store)
    kinds = [batches.batch(step).kind for step in range(16)]
    assert len(batches) == 16
    assert kinds.count("captions") == 8  # 2 of 4
    said = [TOKENIZER.decode(batches.batch(step).tokens[0, 0].tolist()) for step in range(16)]
    assert sum(text.endswith("? left") for text in said) == 2
    assert sum(text.endswith("? no") for text in said) == 4
    assert sum(text in ("dog", "dog tree") for text in said) == 2


@pytest.mark.parametrize(("steps", "expected"), [(1, [1, 0, 0, 0]), (5, [2, 1, 1, 1]), (7, [3, 1, 2, 1])])
def test_steps_left_over_go_to_the_largest_remainders(
    records: list[Record], store: RegionStore, steps: int, expected: list[int]
) -> None:
    batches = mix(records, store, steps)
    counted = [list(batches.order).count(place) for place in range(len(batches.sources))]
    assert counted == [count for count in expected if count]


def test_texts_are_questions_with_answers_and_tags_once(records: list[Record]) -> None:
    _, asked, made, tags = (source.pool for source in sources(records))
    assert TOKENIZER.decode(asked.texts[0][0]) == "is the dog on the left? left"
    assert TOKENIZER.decode(asked.mirrored[0][0]) == "is the dog on the right? right"
    assert TOKENIZER.decode(made.texts[0][0]) == "is the tree on the left? no"
    assert [TOKENIZER.decode(texts[0]) for texts in tags.texts[:2]] == ["dog", "dog tree"]
    majority = replace(records[0].questions[0], majority="right")
    (text,) = question_source([replace(records[0], questions=(majority,))], TOKENIZER, 20).pool.texts[0]
    assert TOKENIZER.decode(text) == "is the dog on the left? right"


def test_pretraining_masks_and_pollutes_texts_of_every_source(records: list[Record], store: RegionStore) -> None:
    masking = MaskTokens(TOKENIZER.mask_id, TOKENIZER.mask_id + 1, len(WORDS.vocabulary))
    batches = PretrainingBatches(mix(records, store), WORDS.lexicon.tag_tokens, masking, polluted_share=0.5, seed=2)
    for step in range(16):
        batch = batches.batch(step)
        own = batch.matched[:, None, None] & (batch.match_tokens != TOKENIZER.pad_id)
        assert bool((batch.match_targets.flatten(1).any(1) == batch.matched).all())
        assert bool((batch.match_targets[~own] == 0).all())
        ends = (batch.match_tokens == TOKENIZER.sep_id).sum(-1)
        assert ends.flatten().tolist() == [1, 1]  # one [SEP] in every text, of whichever kind
        assert bool((batch.match_tokens[..., 0] == TOKENIZER.cls_id).all())


def test_what_is_wrong_with_a_source_is_said_with_its_name(records: list[Record], store: RegionStore) -> None:
    captions = caption_source(records, TOKENIZER, 20)

    def refused(message: str, *made: TextSource, batch: int = 2) -> None:
        with pytest.raises(ValueError, match=message):
            mix_sources(made, TOKENIZER, (batch, 1), 4, 0, store)

    refused("expected at least one")
    refused("'captions' is there twice", captions, captions)
    refused("'captions': expected a weight above 0, received 0", replace(captions, weight=0))
    refused("'captions': expected at least 7 photos, it has 6", captions, batch=7)
    strange = caption_source([PhotoText("x/1", ("a dog",)), PhotoText("x/2", ("a dog",))], TOKENIZER, 20, "strange")
    refused("'strange': 2 of its photos have no regions, the first is x/1", captions, strange)
