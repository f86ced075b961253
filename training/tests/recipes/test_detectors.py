"""What a detector's regions are worth, from the store that they lie in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distillvlm.data.records import ObjectBox, Record
from distillvlm.data.region_store import RegionStore, fill_store
from distillvlm.evaluation.results import read_detection_results
from distillvlm.recipes.detectors import average_precision
from distillvlm.structures.regions import Regions

LABELS = ("cat", "dog")
BOX = ObjectBox((20.0, 10.0, 100.0, 90.0), "dog")


def record(photo_id: str, *objects: ObjectBox) -> Record:
    return Record(photo_id, Path("1.jpg"), 200, 100, "val", photo_id.partition("/")[0], objects=objects)


def store_of(folder: Path, photo_ids: list[str]) -> RegionStore:
    """Of each photo the whole, and a dog where `BOX` is; in the second view, which is not looked at, nothing."""

    def views(rows: list[int]) -> list[Regions]:
        count = len(rows)
        seen = Regions(
            boxes=torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.1, 0.1, 0.5, 0.9]]).expand(count, -1, -1),
            features=torch.zeros(count, 2, 3),
            labels=torch.tensor([-1, 1]).expand(count, -1),
            attributes=torch.full((count, 2), -1),
            scores=torch.tensor([0.0, 0.75]).expand(count, -1),
            valid=torch.ones(count, 2, dtype=torch.bool),
            tags=torch.full((count, 1), -1),
        )
        return [seen, replace(seen, valid=torch.zeros(count, 2, dtype=torch.bool))]

    return fill_store(views, photo_ids, folder, "key", views=2)


def test_regions_are_scored_by_data_set_and_by_who_made_the_boxes(tmp_path: Path) -> None:
    machine = replace(BOX, score=0.9)
    wrong = replace(machine, label="cat")
    records = [
        record("coco/1", BOX),
        record("coco/2", machine),
        record("coco/3", wrong),
        record("flickr8k/a.jpg", machine),
        record("flickr8k/b.jpg"),  # nobody looked for boxes
    ]
    store = store_of(tmp_path / "store", [each.photo_id for each in reversed(records)])
    facts = average_precision(store, records, LABELS, tmp_path)
    found = {name: (one["photos"], one["AP"]["value"]) for name, one in json.loads(json.dumps(facts)).items()}
    # Of COCO's two pseudo boxes the dog is found and the cat is not: 100 and 0 on average.
    assert found == {
        "coco": (1, pytest.approx(100)),
        "coco-pseudo": (2, pytest.approx(50)),
        "flickr8k-pseudo": (1, pytest.approx(100)),
    }
    (detection,) = read_detection_results(tmp_path / "flickr8k-pseudo-detections.json")
    assert (detection.image_id, detection.category_id, detection.score) == ("a.jpg", 1, 0.75)
    assert detection.bbox == pytest.approx((20, 10, 80, 80))
    truth = json.loads((tmp_path / "coco-instances.json").read_text())
    assert truth["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    assert [(each["image_id"], each["category_id"], each["bbox"]) for each in truth["annotations"]] == [
        (1, 1, [20, 10, 80, 80])
    ]
