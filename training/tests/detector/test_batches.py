from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distillvlm.data.records import ObjectBox, Record
from distillvlm.tasks.detection import DetectionBatches, DetectionTask
from tests.detector.tiny import CONFIG, tiny_detector


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Seven photos of 100 x 50 px, each of a grey of its own with a white left edge; the first has objects."""
    found = []
    for index in range(7):
        pixels = np.full((50, 100, 3), 20 * index, dtype=np.uint8)
        pixels[:, :30] = 255
        path = tmp_path / f"{index}.png"
        Image.fromarray(pixels).save(path)
        found.append(Record(f"photo/{index}", path, 100, 50, "train", "photo", objects=OBJECTS if index == 0 else ()))
    return found


OBJECTS = (
    ObjectBox((10.0, 20.0, 60.0, 45.0), "cat", ("blue", "striped"), 0.5),
    ObjectBox((0.0, 0.0, 50.0, 50.0), "zebra"),
    ObjectBox((0.0, 0.0, 50.0, 50.0), "ball", (), 0.1),
    ObjectBox((5.0, 5.0, 5.0, 30.0), "ball"),
)


def test_known_certain_objects_become_shares_of_the_photo(records: list[Record]) -> None:
    targets = DetectionBatches(records[:1], CONFIG, 1, seed=0, flip=False).batch(0).targets
    torch.testing.assert_close(targets.boxes, torch.tensor([[[0.1, 0.4, 0.6, 0.9]]]))
    assert targets.labels.tolist() == [[CONFIG.labels.index("cat")]]
    assert targets.attributes.tolist() == [[[False, True]]]
    assert targets.weights.tolist() == [[0.5]]


def test_step_gives_the_same_batch_whenever_it_is_asked_for(records: list[Record]) -> None:
    straight = DetectionBatches(records, CONFIG, 3, seed=5)
    resumed = DetectionBatches(records, CONFIG, 3, seed=5, keep_pixels=True)
    batches = [straight.batch(step) for step in range(4)]
    for step in (3, 1, 1):
        again = resumed.batch(step)
        assert torch.equal(again.pixels, batches[step].pixels)
        for each in fields(again.targets):
            assert torch.equal(getattr(again.targets, each.name), getattr(batches[step].targets, each.name))


def test_seven_batches_of_three_show_each_of_seven_photos_three_times(records: list[Record]) -> None:
    batches = DetectionBatches(records, CONFIG, 3, seed=5)
    greys = torch.cat([batches.batch(step).pixels[:, 32, 32, 0] for step in range(7)])
    assert greys.bincount(minlength=121)[::20].tolist() == [3] * 7
    assert len(batches) == 3


def test_mirrored_photo_has_mirrored_boxes(records: list[Record]) -> None:
    batches = DetectionBatches(records[:1], CONFIG, 16, seed=0)
    batch = batches.batch(0)
    mirrored = batch.pixels[:, 0, 0, 0] != 255
    assert 0 < mirrored.sum() < 16
    expected = torch.where(mirrored[:, None], torch.tensor([0.4, 0.4, 0.9, 0.9]), torch.tensor([0.1, 0.4, 0.6, 0.9]))
    torch.testing.assert_close(batch.targets.boxes[:, 0], expected)


def test_task_gives_the_detectors_losses(records: list[Record]) -> None:
    task = DetectionTask(tiny_detector().train())
    batch = DetectionBatches(records, CONFIG, 4, seed=0).batch(0)
    assert task(batch) == task.trained.losses(batch.pixels, batch.targets)


def test_no_records_are_refused() -> None:
    with pytest.raises(ValueError, match="record"):
        DetectionBatches([], CONFIG, 4, seed=0)
