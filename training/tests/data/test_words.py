"""The words that a pair of models shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from distillvlm.data.words import Words, collect_words
from distillvlm.recipes.language import ModelSize, new_model

CAPTIONS = ["a dog left", "a dog", "a cat"]


@pytest.fixture
def words() -> Words:
    return collect_words(CAPTIONS, ["is it a dog?", "is it on the right?"], ["dog", "cat"], ["yes", "no"], min_count=1)


def test_the_prior_counts_pieces_of_captions_and_their_ends(words: Words) -> None:
    prior = dict(zip(words.vocabulary, words.caption_prior.exp().tolist(), strict=True))
    assert sum(prior.values()) == pytest.approx(1)
    assert prior["a"] == pytest.approx(prior["[SEP]"])  # once in each of three captions
    assert prior["dog"] / prior["cat"] == pytest.approx(2.5 / 1.5)
    # "right" is said of mirrored photos alone, "?" of none
    assert prior["right"] == pytest.approx(prior["?"])


def test_a_new_model_begins_with_the_prior_and_words_survive_a_file(words: Words, tmp_path: Path) -> None:
    words.save(tmp_path / "words.json")
    loaded = Words.load(tmp_path / "words.json")
    assert loaded == words
    model = new_model(ModelSize(16, 1, 2, 32), loaded, feature_size=2, seed=0)
    assert model.word_bias.tolist() == words.caption_prior.tolist()
