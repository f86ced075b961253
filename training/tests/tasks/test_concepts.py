"""The concept head as a task: batches by step, photos that a head leaves out, learning."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distillvlm.data.region_store import RegionStore
from distillvlm.modeling.detector import ConceptHead
from distillvlm.structures.regions import Regions
from distillvlm.tasks.concepts import ConceptBatch, ConceptBatches, ConceptTask
from tests.data.photo_set import photo_records, region_store

CLASSES, LABELS, WORDS = 4, 2, 3


def no_classes(regions: Regions) -> Tensor:
    return torch.zeros(len(regions), CLASSES)


def new_head(features: int = 2) -> ConceptHead:
    torch.manual_seed(0)
    head = ConceptHead(features, CLASSES, LABELS, WORDS, hidden_size=8)
    head.start_at(torch.full((WORDS,), 0.3), regions=1)
    return head


@pytest.fixture
def store(tmp_path: Path) -> RegionStore:
    return region_store(tmp_path / "store", photo_records(tmp_path))


def batches(store: RegionStore, seed: int = 0) -> ConceptBatches:
    shares = np.random.default_rng(0).random((6, WORDS)).astype(np.float32)
    return ConceptBatches(store, store.photo_ids, shares, np.arange(6) % 2, 4, seed)


def tensors(batch: ConceptBatch) -> list[Tensor]:
    return [*(getattr(batch.regions, field.name) for field in fields(Regions)), batch.shares, batch.folds]


def test_the_batch_of_a_step_is_the_same_however_often_it_is_asked_for(store: RegionStore) -> None:
    straight, resumed = batches(store), batches(store)
    expected = [straight.batch(step) for step in range(5)]
    for step in (4, 1, 1):
        for one, other in zip(tensors(resumed.batch(step)), tensors(expected[step]), strict=True):
            assert torch.equal(one, other)


def test_an_epoch_shows_every_photo_once_with_its_own_shares_in_any_view(store: RegionStore) -> None:
    source = batches(store)
    rows, views = [], []
    for step in range(3):  # two epochs of six
        batch = source.batch(step)
        photos = (batch.regions.features[:, 0, 0] / 40).long()
        assert torch.equal(batch.shares, source.shares[photos])
        assert torch.equal(batch.folds, photos % 2)
        rows += photos.tolist()
        views += batch.regions.features[:, 0, 1].tolist()
    assert sorted(rows[:6]) == sorted(rows[6:]) == list(range(6))
    assert set(views) == {0.0, 1.0}


def test_shares_of_other_photos_are_refused(store: RegionStore) -> None:
    with pytest.raises(ValueError, match="shares"):
        ConceptBatches(store, store.photo_ids, np.zeros((5, WORDS)), np.zeros(6), 2, 0)


def test_what_a_fold_says_is_not_seen_by_the_head_that_leaves_it_out(store: RegionStore) -> None:
    batch = batches(store).batch(0)
    lied = replace(batch, shares=torch.where((batch.folds == 1)[:, None], 1 - batch.shares, batch.shares))
    losses = {
        left_out: [ConceptTask(new_head(), no_classes, left_out)(each)["concept"].item() for each in (batch, lied)]
        for left_out in (None, 0, 1)
    }
    assert losses[1][0] == losses[1][1]
    assert losses[0][0] != losses[0][1]
    assert losses[None][0] != losses[None][1]


def test_a_batch_of_left_out_photos_only_teaches_nothing(store: RegionStore) -> None:
    batch = batches(store).batch(0)
    task = ConceptTask(new_head(), no_classes, left_out=1)
    loss = task(replace(batch, folds=torch.ones_like(batch.folds)))["concept"]
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in task.parameters())


def test_it_learns_a_word_that_one_region_shows_a_word_of_the_whole_and_the_rate_of_what_nothing_shows() -> None:
    """Word 0: the first number of any region's feature is large. Word 1: the whole photo's class. Word 2: by chance."""
    draw = torch.Generator().manual_seed(0)
    count, regions = 256, 5
    shown, whole, chance = (torch.rand(count, generator=draw) < share for share in (0.3, 0.4, 0.2))
    features = torch.randn(count, regions, 4, generator=draw)
    place = torch.randint(regions, (count,), generator=draw)
    features[torch.arange(count), place, 0] += 6.0 * shown
    none = torch.full((count, regions), -1)
    photo = Regions(
        torch.zeros(count, regions, 4), features, none, none, torch.zeros(count, regions), none < 0, none[:, :1]
    )
    shares = torch.stack([shown, whole, chance], dim=1).float()

    def classes_of(_: Regions) -> Tensor:
        return torch.nn.functional.one_hot(whole.long(), CLASSES).float()

    task = ConceptTask(new_head(features=4), classes_of)
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2, weight_decay=0.05)
    for _ in range(150):
        loss = task(ConceptBatch(photo, shares, torch.zeros(count)))["concept"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        present, _ = task.head.of_regions(photo, classes_of(photo))
    found = present.exp()
    assert ((found[:, 0] > 0.5) == shown).float().mean() > 0.97
    assert ((found[:, 1] > 0.5) == whole).float().mean() > 0.97
    assert found[:, 2].mean().item() == pytest.approx(chance.float().mean().item(), abs=0.05)
