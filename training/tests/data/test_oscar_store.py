"""Region stores made from OSCAR's and VinVL's feature files, in every layout these have."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillvlm.data import oscar_store
from distillvlm.data.oscar_store import FeatureFiles, count_labels, photo_id_of, store_of_tsv
from distillvlm.data.region_store import RegionStore
from distillvlm.modeling.vision_language import box_geometry

from . import oscar_files as files

Row = Callable[[int], list[object]]


def feature_files(folder: Path, row: Row, labels: Row | None = None, sizes: bool = False) -> FeatureFiles:
    def write(name: str, kind: Row) -> Path:
        return files.write_rows(folder / name, [kind(photo) for photo in range(3)])

    return FeatureFiles(
        "coco",
        write("features.tsv", row),
        write("labels.tsv", labels) if labels else None,
        write("sizes.tsv", files.size_row) if sizes else None,
    )


def store_of(*sources: FeatureFiles, folder: Path, **changed: Any) -> RegionStore:
    settings = {"num_regions": 2, "num_tags": 2, "feature_size": files.FEATURE_SIZE, "batch_size": 2} | changed
    return store_of_tsv(sources, folder, files.TAGS, **settings)


@pytest.mark.parametrize(
    ("row", "labels", "sizes"),
    [
        (files.oscar_row, files.sized_label_row, False),
        (files.oscar_row, files.label_row, True),
        (files.vinvl_row, files.sized_label_row, False),
        (files.bottom_up_row, files.label_row, False),
        (files.json_boxes_row, files.label_row, False),
        (files.detector_row, None, True),
        (files.detector_row, files.sized_label_row, False),
    ],
)
def test_every_layout_gives_the_same_regions(tmp_path: Path, row: Row, labels: Row | None, sizes: bool) -> None:
    store = store_of(feature_files(tmp_path, row, labels, sizes), folder=tmp_path / "store")
    assert store.photo_ids == ["coco/7", "coco/8", "coco/9"]
    regions = store.regions(store.photo_ids)
    assert regions.valid.tolist() == [[True, False], [True, True], [True, True]]
    assert regions.features[2].tolist() == [[200, 201, 202, 203], [204, 205, 206, 207]]
    assert regions.features[0, 1].tolist() == [0, 0, 0, 0]
    for photo in range(3):
        count = min(photo + 1, 2)
        np.testing.assert_allclose(regions.boxes[photo, :count], files.shares(photo)[:count], atol=1e-6)
    # Rows of the list of tags, the most certain first; the third photo's most certain object is on no list.
    assert regions.tags.tolist() == [[2, -1], [1, 2], [1, 2]]
    assert regions.labels.tolist() == [[2, -1], [2, 1], [2, 1]]
    np.testing.assert_allclose(regions.scores[1], [0.5, 0.6], atol=1e-6)
    assert (regions.attributes == -1).all()


def test_the_model_computes_the_geometry_of_the_file_anew(tmp_path: Path) -> None:
    store = store_of(feature_files(tmp_path, files.vinvl_row), folder=tmp_path / "store")
    geometry = box_geometry(store.regions(["coco/9"]).boxes)[0]
    np.testing.assert_allclose(geometry, files.with_geometry(2)[:2, files.FEATURE_SIZE :], atol=1e-6)


def test_labels_of_other_boxes_are_tags_only(tmp_path: Path) -> None:
    def moved(photo: int) -> list[object]:
        key, content = files.sized_label_row(photo)
        fields = json.loads(str(content))
        fields["objects"][0]["rect"] = [150, 5, 190, 25]
        return [key, json.dumps(fields)]

    regions = store_of(feature_files(tmp_path, files.vinvl_row, moved), folder=tmp_path / "a").regions(["coco/8"])
    assert regions.tags.tolist() == [[1, 2]]
    assert regions.labels.tolist() == [[-1, 1]]

    def fewer(photo: int) -> list[object]:
        return [files.KEYS[photo], json.dumps({"image_h": 50, "image_w": 200, "objects": files.objects(0)})]

    regions = store_of(feature_files(tmp_path, files.vinvl_row, fewer), folder=tmp_path / "b").regions(["coco/8"])
    assert (regions.tags.tolist(), regions.labels.tolist()) == ([[2, -1]], [[-1, -1]])


def test_a_photo_without_boxes_has_no_valid_region(tmp_path: Path) -> None:
    for name, row in (("a", files.oscar_row), ("b", files.vinvl_row)):
        source = feature_files(tmp_path / name, row)
        empty = ["10", json.dumps({"num_boxes": 0, "features": ""})] if name == "a" else ["10", 0, ""]
        files.write_rows(source.features, [row(0), empty])
        regions = store_of(source, folder=tmp_path / name / "store").regions(["coco/7", "coco/10"])
        assert regions.valid.tolist() == [[True, False], [False, False]]
        assert not regions.features[1].any()


def test_several_data_sets_share_a_store(tmp_path: Path) -> None:
    coco = feature_files(tmp_path / "coco", files.oscar_row, files.label_row)
    gqa = replace(feature_files(tmp_path / "gqa", files.vinvl_row), source="gqa")
    store = store_of(coco, gqa, folder=tmp_path / "store")
    assert store.photo_ids == ["coco/7", "coco/8", "coco/9", "gqa/7", "gqa/8", "gqa/9"]
    same = store.regions(["coco/9", "gqa/9"]).features
    assert torch.equal(same[0], same[1])
    with pytest.raises(ValueError, match=r"features\.tsv: photo coco/7 is there twice"):
        store_of(coco, coco, folder=tmp_path / "other")


def test_a_cut_off_conversion_continues_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = feature_files(tmp_path, files.oscar_row, files.label_row)
    read = oscar_store.features_of
    calls: list[int] = []

    def cut_off(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr(oscar_store, "features_of", cut_off)
    with pytest.raises(KeyboardInterrupt):
        store_of(source, folder=tmp_path / "store")
    with pytest.raises(ValueError, match="not every photo is in it"):
        RegionStore(tmp_path / "store")
    store = store_of(source, folder=tmp_path / "store")
    assert len(calls) == 4  # the third photo, once more; the first two are not read again
    assert store.regions(["coco/7", "coco/9"]).features[:, 0, 0].tolist() == [0, 200]


def test_other_files_or_settings_are_refused(tmp_path: Path) -> None:
    source = feature_files(tmp_path, files.oscar_row, files.label_row)
    store_of(source, folder=tmp_path / "store")
    with pytest.raises(ValueError, match="from other photos or files"):
        store_of(source, folder=tmp_path / "store", num_regions=3)
    assert source.labels is not None
    files.write_rows(source.labels, [files.sized_label_row(photo) for photo in range(3)])
    with pytest.raises(ValueError, match="from other photos or files"):
        store_of(source, folder=tmp_path / "store")


def broken(content: Any, columns: int = 2) -> Row:
    def row(photo: int) -> list[object]:
        good = files.oscar_row(photo)
        return good if photo != 1 else [good[0], content if isinstance(content, str) else json.dumps(content)][:columns]

    return row


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ({"features": "AAAA"}, "field 'num_boxes' is missing"),
        ({"num_boxes": 2}, "field 'features' is missing"),
        ({"num_boxes": 2, "features": "AAA"}, "padding"),
        ({"num_boxes": 3, "features": files.base64_of(files.with_geometry(1))}, r"3 x 10 or 3 x 4 float32 .* 80 bytes"),
        ({"num_boxes": 2, "features": files.base64_of(files.features(1))}, "expected boxes, or 6 numbers of geometry"),
        ({"num_boxes": 2, "features": files.base64_of(files.with_geometry(1) * np.nan)}, "expected finite numbers"),
        ({"num_boxes": 2, "features": files.base64_of(files.with_geometry(1) * 9)}, r"box 0: expected x1/W, y1/H"),
        ({"objects": [{"class": "dog", "rect": [0, 0, 5, 5]}]}, "expected a feature of every object"),
        ("1\t2\t3", "expected 2, 3 or 6 columns, received 4"),
    ],
)
def test_a_malformed_row_is_named_with_its_file(tmp_path: Path, content: Any, message: str) -> None:
    source = feature_files(tmp_path, broken(content))
    with pytest.raises(ValueError, match=rf"features\.tsv, key 8: .*({message})"):
        store_of(source, folder=tmp_path / "store")


def test_boxes_in_pixels_need_a_size(tmp_path: Path) -> None:
    source = feature_files(tmp_path, files.detector_row)
    with pytest.raises(ValueError, match=r"features\.tsv, key 000000000007: expected the photo's size"):
        store_of(source, folder=tmp_path / "store")


def test_missing_files_and_keys_are_named(tmp_path: Path) -> None:
    source = feature_files(tmp_path, files.oscar_row, files.label_row)
    with pytest.raises(ValueError, match=r"Cannot read .*absent\.tsv"):
        store_of(replace(source, labels=tmp_path / "absent.tsv"), folder=tmp_path / "store")
    part = files.write_rows(tmp_path / "part.tsv", [files.label_row(0)])
    with pytest.raises(ValueError, match=r"part\.tsv: no row has the key '8'"):
        store_of(replace(source, labels=part), folder=tmp_path / "store")
    nameless = files.write_rows(tmp_path / "n.tsv", [[key, '[{"rect": [0, 0, 1, 1]}]'] for key in files.KEYS])
    with pytest.raises(ValueError, match=r"n\.tsv, key 000000000007: field 'class' is missing"):
        store_of(replace(source, labels=nameless), folder=tmp_path / "other")
    with pytest.raises(ValueError, match="expected a region store"):
        RegionStore(tmp_path / "nowhere")


def test_labels_are_counted_for_a_list_of_tags(tmp_path: Path) -> None:
    apart = feature_files(tmp_path / "a", files.oscar_row, files.sized_label_row)
    within = feature_files(tmp_path / "b", files.detector_row)
    assert count_labels([apart, within]).most_common() == [("dog", 6), ("red ball", 4), ("unlisted", 2)]


@pytest.mark.parametrize(("key", "expected"), [("000391895", "coco/391895"), ("n161313", "coco/n161313")])
def test_numbers_of_photos_lose_their_leading_zeros(key: str, expected: str) -> None:
    assert photo_id_of("coco", key) == expected
