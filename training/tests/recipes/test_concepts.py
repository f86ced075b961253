"""Concept heads as a recipe runs them: trained, out of fold, on a detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distillvlm.data.folds import fold_of
from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore
from distillvlm.modeling.detector import Detector
from distillvlm.recipes.concepts import ALL, ConceptHeads, ConceptRecipe
from distillvlm.recipes.detectors import own_regions
from tests.detector.tiny import tiny_detector

WORDS = ("red", "blue", "grey")
RECIPE = ConceptRecipe(steps=60, batch_size=16, learning_rate=1e-2, hidden_size=16, folds=2, dropout=0.0)
COLOURS = ((220, 30, 30), (30, 30, 220))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return tiny_detector(pool_backbone=True)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Red and blue squares on grey in turn; the last four photos are no training photos."""
    folder, draw, made = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), []
    for number in range(36):
        pixels = np.full((64, 64, 3), 110, np.uint8) + draw.integers(0, 20, (64, 64, 3), dtype=np.uint8)
        x, y = draw.integers(0, 30, 2)
        pixels[y : y + 34, x : x + 34] = COLOURS[number % 2]
        Image.fromarray(pixels).save(folder / f"{number}.png")
        captions = (f"a {WORDS[number % 2]} square on grey", f"{WORDS[number % 2]}")
        split = "train" if number < 32 else "val"
        made.append(Record(f"test/{number}", folder / f"{number}.png", 64, 64, split, "test", captions))
    return made


@pytest.fixture(scope="module")
def store(detector: Detector, records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> RegionStore:
    return own_regions(detector, records, tmp_path_factory.mktemp("regions"), 2, "regions", bf16=False)


def heads(detector: Detector, records: list[Record], folder: Path) -> ConceptHeads:
    return ConceptHeads(detector, WORDS, records[:32], RECIPE, folder)


@pytest.fixture(scope="module")
def trained(
    detector: Detector, records: list[Record], store: RegionStore, tmp_path_factory: pytest.TempPathFactory
) -> ConceptHeads:
    made = heads(detector, records, tmp_path_factory.mktemp("heads"))
    made.train(store, seed=0)
    return made


def test_heads_learn_colours_and_say_so_of_photos_that_they_have_not_seen(
    trained: ConceptHeads, store: RegionStore, records: list[Record]
) -> None:
    report = trained.report(store, records[32:])
    assert report["mean average precision"] > 0.9
    assert report["recall"] > 0.9
    assert report["tags"] <= trained.detector.config.num_tags


def test_the_prior_is_the_share_of_captions_that_say_the_word(trained: ConceptHeads) -> None:
    torch.testing.assert_close(trained.tags.prior, torch.tensor([0.5, 0.5, 0.5]))


def test_a_head_that_leaves_a_fold_out_is_the_same_whatever_that_fold_says(
    trained: ConceptHeads, detector: Detector, records: list[Record], store: RegionStore, tmp_path: Path
) -> None:
    lied = [replace(record, captions=("grey",)) if fold_of(record.photo_id, 2) == 1 else record for record in records]
    other = heads(detector, lied, tmp_path)
    other.train(store, seed=0)
    same = {
        name: all(
            torch.equal(one, two)
            for one, two in zip(trained.head(name).parameters(), other.head(name).parameters(), strict=True)
        )
        for name in trained.left_out
    }
    assert same == {ALL: False, "without-0": False, "without-1": True}


def test_training_photos_are_tagged_by_the_head_that_has_not_seen_them_and_others_by_the_full_one(
    trained: ConceptHeads, store: RegionStore, records: list[Record], tmp_path: Path
) -> None:
    trained.write_tags(store, tmp_path / "tags.npz")
    tagged = RegionStore(store_folder(store), tags=tmp_path / "tags.npz")
    for record in records:
        fold = fold_of(record.photo_id, 2)
        name = f"without-{fold}" if record.split == "train" else ALL
        tagger = trained._tagger(name)
        for view in (0, 1):
            regions = store.regions([record.photo_id], [view])
            with torch.no_grad():
                expected = tagger(regions, trained.detector.classes_of(regions))
            assert torch.equal(tagged.regions([record.photo_id], [view]).tags, expected)
    confusion = trained.confusion(tagged)
    assert confusion.words == WORDS
    assert confusion.recall[:2, 3].min() > 0.7  # said by both captions, and found


def store_folder(store: RegionStore) -> Path:
    return Path(store.arrays["boxes"].filename).parent


def test_the_detector_with_the_head_gives_the_tags_of_the_full_head(
    trained: ConceptHeads, store: RegionStore, records: list[Record]
) -> None:
    detector = trained.detector_with_tags()
    assert detector.tag_words == WORDS
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(record.path)) for record in records[32:]]))
    regions = store.regions([record.photo_id for record in records[32:]])
    with torch.no_grad():
        found = detector(pixels).tags
        expected = trained._tagger(ALL)(regions, trained.detector.classes_of(regions))
    assert torch.equal(found, expected)


def test_fewer_than_two_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="folds"):
        ConceptRecipe(folds=1)
