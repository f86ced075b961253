"""Regions on disk: resumed, refused when they are another detector's, found by photo and view."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore, extract_regions, save_tags, weights_checksum
from distillvlm.structures.regions import Regions

from .photo_set import describe, photo_records, region_store


def test_regions_come_back_by_photo_and_view(tmp_path: Path) -> None:
    store = region_store(tmp_path / "store", photo_records(tmp_path))
    regions = store.regions(["test/3", "test/1"], views=[1, 0])
    assert regions.features[:, 0].tolist() == [[120.0, 1.0], [40.0, 0.0]]
    assert regions.valid.tolist() == [[True, False]] * 2
    assert regions.features.dtype == torch.float32


def test_a_cut_off_run_continues_where_it_stopped(tmp_path: Path) -> None:
    records, calls = photo_records(tmp_path), []

    def cut_off(pixels: Tensor, chosen: list[Record], view: int) -> Regions:
        calls.append([record.photo_id for record in chosen])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return describe(pixels, chosen, view)

    with pytest.raises(KeyboardInterrupt):
        extract_regions(cut_off, records, (8, 8), tmp_path / "store", "test", views=1, batch_size=4)
    with pytest.raises(ValueError, match="not every photo is in it"):
        RegionStore(tmp_path / "store")
    store = extract_regions(cut_off, records, (8, 8), tmp_path / "store", "test", views=1, batch_size=4)
    assert calls[2:] == [["test/4", "test/5"]]
    assert store.regions([record.photo_id for record in records]).features[:, 0, 0].tolist() == [
        0,
        40,
        80,
        120,
        160,
        200,
    ]


def test_another_detector_is_refused(tmp_path: Path) -> None:
    records = photo_records(tmp_path)
    region_store(tmp_path / "store", records)
    with pytest.raises(ValueError, match="made by another detector"):
        extract_regions(describe, records, (8, 8), tmp_path / "store", key="other", views=2)


def test_a_photo_that_is_not_there_is_named(tmp_path: Path) -> None:
    store = region_store(tmp_path / "store", photo_records(tmp_path))
    with pytest.raises(ValueError, match="no regions of photo 'test/99'"):
        store.regions(["test/1", "test/99"])


def test_other_tags_take_the_place_of_the_stores_own_by_photo(tmp_path: Path) -> None:
    store = region_store(tmp_path / "store", photo_records(tmp_path))
    photo_ids = [*reversed(store.photo_ids), "test/99"]
    tags = np.arange(len(photo_ids))[:, None, None] * 10 + np.arange(2)[:, None] + np.array([0, 100, -1])
    save_tags(tmp_path / "tags.npz", photo_ids, tags)
    other = RegionStore(tmp_path / "store", tags=tmp_path / "tags.npz")
    assert other.num_tags == 3
    assert other.key != store.key == RegionStore(tmp_path / "store").key
    found, own = other.regions(["test/5", "test/3"], views=[1, 0]), store.regions(["test/5", "test/3"], views=[1, 0])
    assert found.tags.tolist() == [[1, 101, 0], [20, 120, 19]]
    assert found.tags.dtype == own.tags.dtype
    assert torch.equal(found.features, own.features)
    save_tags(tmp_path / "more.npz", photo_ids, np.concatenate([tags, tags + 1000], axis=1))  # of further views
    again = RegionStore(tmp_path / "store", tags=tmp_path / "more.npz").regions(["test/5", "test/3"], views=[1, 0])
    assert torch.equal(again.tags, found.tags)


def test_tags_of_other_views_or_without_a_photo_are_refused(tmp_path: Path) -> None:
    store = region_store(tmp_path / "store", photo_records(tmp_path))
    path = tmp_path / "tags.npz"
    save_tags(path, store.photo_ids, np.zeros((6, 1, 3)))
    with pytest.raises(ValueError, match="1 views"):
        RegionStore(tmp_path / "store", tags=path)
    save_tags(path, store.photo_ids[1:], np.zeros((5, 2, 3)))
    with pytest.raises(ValueError, match="1 photos are missing"):
        RegionStore(tmp_path / "store", tags=path)


def test_statistics_are_of_valid_regions_of_the_photos_named_and_keep_what_never_differs_small(tmp_path: Path) -> None:
    store = region_store(tmp_path / "store", photo_records(tmp_path))
    trained_on = store.photo_ids[1::2]
    regions = store.regions(trained_on)
    features = regions.features[regions.valid]
    mean, deviation = store.feature_statistics(trained_on)
    torch.testing.assert_close(mean, features.mean(0))
    torch.testing.assert_close(deviation, features.std(0).clamp(min=1e-3))


def test_the_checksum_follows_the_weights() -> None:
    module = torch.nn.Linear(2, 2)
    before = weights_checksum(module)
    assert weights_checksum(module) == before
    with torch.no_grad():
        module.bias[0] += 1e-3
    assert weights_checksum(module) != before
