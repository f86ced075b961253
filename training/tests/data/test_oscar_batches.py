"""Batches of OSCAR's layout: what is masked, how often and where, and whose tags stand beside a text."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from distillvlm.data.oscar_batches import OscarBatch, OscarBatches
from distillvlm.data.pretraining_batches import MaskTokens
from distillvlm.data.text_batches import Kind, TextBatch
from distillvlm.structures.lexicon import Lexicon
from tests.modeling.tiny import tiny_regions

PHOTOS, TEXTS, PIECES = 4, 2, 200
TAG_TOKENS = torch.tensor([[100 + row, 110 + row if row % 2 else 0] for row in range(7)])
LEXICON = Lexicon(TAG_TOKENS, torch.ones(PIECES, dtype=torch.bool))
TAGS = 6


@dataclass(frozen=True)
class Texts:
    """Texts of `words` words below 100 and their ends; the second text of photo 0 fills up its row."""

    kind: Kind
    words: int = 8

    def batch(self, step: int) -> TextBatch:
        words = torch.arange(10, 10 + self.words).expand(PHOTOS, TEXTS, -1) + 2 * step
        begins, ends = (torch.full((PHOTOS, TEXTS, 1), token) for token in (LEXICON.cls, LEXICON.sep))
        valid = torch.ones(PHOTOS, TEXTS, dtype=torch.bool)
        valid[0, 1] = False
        if self.kind == "captions":
            tokens, targets = torch.cat([begins, words], -1), torch.cat([words, ends], -1)
            targets[0, 1] = 0
        else:
            tokens, targets = torch.cat([begins, words, ends], -1), torch.rand(PHOTOS, TEXTS, 3)
        tokens[0, 1] = 0
        regions = replace(tiny_regions(PHOTOS), tags=torch.tensor([[0, 1, -1], [2, 3, -1], [4, 5, -1], [6, -1, -1]]))
        return TextBatch(self.kind, regions, regions, tokens, targets, valid, torch.arange(PHOTOS))


def batches(kind: Kind, words: int = 8, polluted_share: float | None = None, seed: int = 3) -> OscarBatches:
    return OscarBatches(Texts(kind, words), LEXICON, TAGS, seed, polluted_share)


def unmasked(batch: OscarBatch) -> torch.Tensor:
    tokens = torch.cat([batch.text, batch.tags], dim=-1)
    return torch.where(batch.targets != 0, batch.targets, tokens)


def test_captions_are_whole_with_their_photos_tags_and_ends() -> None:
    batch = batches("captions", words=3).batch(0)
    whole = unmasked(batch)
    assert whole[1, 0].tolist() == [2, 10, 11, 12, 3, *[102, 103, 113, 3, 0, 0]]
    assert whole[0, 1].tolist() == [0, 0, 0, 0, 0, *[100, 101, 111, 3, 0, 0]]
    assert batch.kind == "captions"
    assert batch.matched.all()
    assert not batch.targets[0, 1].any()
    assert batch.answers.shape == (PHOTOS, TEXTS, 0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [(1, 1), (6, 1), (8, 2), (14, 2), (15, 3), (40, 3)],  # n counts [CLS] and [SEP]: 3, 8, 10, 16, 17, 42
)
def test_captions_have_oscars_number_of_masked_tokens(words: int, expected: int) -> None:
    batch = batches("captions", words).batch(0)
    assert (batch.targets != 0).sum(-1)[batch.valid].unique().tolist() == [expected]


def test_captions_alone_are_masked_their_end_too_and_their_beginning_never() -> None:
    masked = torch.zeros(10 + TAGS)
    for step in range(100):
        masked += (batches("captions").batch(step).targets != 0).sum((0, 1))
    assert masked[0] == 0
    assert not masked[10:].any()
    # 2 of 9 places in each of 700 captions: 156 a place, with a deviation of 11
    assert ((masked[1:10] - 1400 / 9).abs() < 50).all()


def test_four_fifths_become_mask_a_tenth_another_token_and_a_tenth_stay() -> None:
    masking, draw, fates = MaskTokens(4, 5, PIECES), np.random.default_rng(0), Counter[str]()
    tokens = np.arange(10, 30)
    for _ in range(2000):
        masked, targets = masking(tokens, np.ones(20, bool), draw)
        for place in np.flatnonzero(targets):
            assert targets[place] == tokens[place]
            fates["mask" if masked[place] == 4 else "same" if masked[place] == tokens[place] else "other"] += 1
        assert np.array_equal(masked[targets == 0], tokens[targets == 0])
    shares = {name: count / fates.total() for name, count in fates.items()}
    assert fates.total() == 6000
    assert shares == pytest.approx({"mask": 0.8, "other": 0.1, "same": 0.1}, abs=0.02)


def test_questions_are_not_masked_and_keep_their_answers() -> None:
    source = Texts("questions")
    torch.manual_seed(0)
    batch = batches("questions").batch(0)
    torch.manual_seed(0)
    texts = source.batch(0)
    assert not batch.targets.any()
    assert torch.equal(batch.text, texts.tokens)
    assert torch.equal(batch.answers, texts.targets)


def test_pre_training_masks_text_and_tags_by_chance_in_matched_pairs_alone() -> None:
    masked, words = torch.zeros(10 + TAGS), 0
    for step in range(200):
        batch = batches("captions", polluted_share=0.5).batch(step)
        assert batch.kind == "pretraining"
        assert not (batch.targets != 0)[~batch.matched | ~batch.valid].any()
        masked += (batch.targets != 0).sum((0, 1))
        words += int((batch.matched & batch.valid).sum())
    assert not masked[[0, 9]].any()
    assert (masked[1:9] / words - 0.15).abs().max() < 0.05
    assert masked[10] / words == pytest.approx(0.15, abs=0.05)
    assert not masked[14:].any()


def test_half_of_the_texts_stand_beside_the_tags_of_another_photo() -> None:
    share = []
    own = unmasked(batches("captions").batch(0))[..., 10:]
    for step in range(100):
        batch = batches("captions", polluted_share=0.5).batch(step)
        tags = unmasked(batch)[..., 10:]
        assert torch.equal((tags == own).all(-1), batch.matched)
        share.append(batch.matched.float().mean())
    assert float(torch.stack(share).mean()) == pytest.approx(0.5, abs=0.05)


def test_the_batch_of_a_step_does_not_depend_on_what_was_asked_before() -> None:
    asked = batches("captions", polluted_share=0.5)
    first = asked.batch(5)
    asked.batch(1)
    for name in ("text", "tags", "targets", "matched"):
        assert torch.equal(getattr(asked.batch(5), name), getattr(first, name))
    assert not torch.equal(batches("captions", polluted_share=0.5, seed=4).batch(5).targets, first.targets)


def test_texts_that_have_no_place_in_fine_tuning_are_refused() -> None:
    with pytest.raises(ValueError, match="expected captions or questions in fine-tuning"):
        batches("texts").batch(0)
