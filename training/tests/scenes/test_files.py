"""Written scenes come back through the public readers as they were made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from distillvlm.data.annotation_files import PhotoSet
from distillvlm.data.coco import read_instances
from distillvlm.data.scenes import SMOKE, STUDY, Difficulty, load_scenes, write_scenes
from distillvlm.data.scenes.captions import make_captions
from distillvlm.data.scenes.layout import make_scene
from distillvlm.data.scenes.questions import make_questions

COUNTS = {"train": 6, "val": 2, "test": 3}
SIZE = (40, 56)


def write(root: Path, difficulty: Difficulty = SMOKE, seed: int = 7, size: tuple[int, int] = SIZE) -> None:
    write_scenes(root, difficulty, COUNTS, size, seed, workers=1)


@pytest.fixture(scope="module", params=[SMOKE, STUDY], ids=lambda difficulty: difficulty.name)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Difficulty]:
    root = tmp_path_factory.mktemp("scenes")
    write(root, request.param)
    return root, request.param


def test_the_public_readers_give_back_what_was_made(written: tuple[Path, Difficulty]) -> None:
    root, difficulty = written
    records = load_scenes(root)
    assert {split: sum(one.split == split for one in records) for split in COUNTS} == COUNTS
    assert len({one.photo_id for one in records}) == len(records)
    numbers = {split: iter(range(count)) for split, count in COUNTS.items()}
    for record in records:
        scene = make_scene(7, record.split, next(numbers[record.split]), difficulty)
        assert (record.height, record.width, record.source) == (*SIZE, "scenes")
        assert record.captions == make_captions(scene, difficulty)
        made = make_questions(scene, record.split, difficulty, record.questions[0].question_id)
        assert all(question.majority in question.answers for question in record.questions)
        assert tuple(replace(question, majority="") for question in record.questions) == made
        assert [(one.label, one.attributes) for one in record.objects] == [
            (thing.category, thing.attributes) for thing in scene.things
        ]
        for one, thing in zip(record.objects, scene.things, strict=True):
            pixels = [share * side for share, side in zip(thing.box, (SIZE[1], SIZE[0]) * 2, strict=True)]
            assert one.box == pytest.approx(pixels, abs=0.02)  # written with two decimals


def test_question_ids_are_unique_over_all_splits(written: tuple[Path, Difficulty]) -> None:
    ids = [question.question_id for record in load_scenes(written[0]) for question in record.questions]
    assert len(ids) == len(set(ids))


def test_coco_instances_hold_the_same_boxes_as_visual_genome(written: tuple[Path, Difficulty]) -> None:
    root, _ = written
    for split in COUNTS:
        instances = read_instances(root / split / "instances.json", PhotoSet("scenes", root / split / "images", split))
        records = [record for record in load_scenes(root) if record.split == split]
        for coco, genome in zip(instances, records, strict=True):
            assert (coco.photo_id, coco.path, coco.width) == (genome.photo_id, genome.path, genome.width)
            assert [(one.label, one.box) for one in coco.objects] == [(one.label, one.box) for one in genome.objects]


def test_a_stopped_run_goes_on_and_keeps_what_is_right(tmp_path: Path) -> None:
    write(tmp_path)
    pictures = sorted(tmp_path.glob("*/images/*.png"))
    contents = [picture.read_bytes() for picture in pictures]
    pictures[0].unlink()
    pictures[1].write_bytes(b"half a picture")
    Image.new("RGB", (5, 5)).save(pictures[2])
    kept = pictures[3].stat().st_mtime_ns
    write(tmp_path)
    assert [picture.read_bytes() for picture in pictures] == contents
    assert pictures[3].stat().st_mtime_ns == kept
    assert sorted(tmp_path.glob("*/images/*")) == pictures


@pytest.mark.parametrize("changed", [{"seed": 8}, {"size": (24, 24)}, {"difficulty": STUDY}], ids=str)
def test_other_settings_redraw_every_picture(tmp_path: Path, changed: dict[str, object]) -> None:
    write(tmp_path)
    before = {picture.name: picture.read_bytes() for picture in tmp_path.glob("*/images/*.png")}
    write(tmp_path, **changed)
    after = {picture.name: picture.read_bytes() for picture in tmp_path.glob("*/images/*.png")}
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def test_an_unknown_split_too_many_scenes_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="received 'dev'"):
        write_scenes(tmp_path, SMOKE, {"dev": 1}, SIZE, 7, workers=1)
    with pytest.raises(ValueError, match="received 10000000"):
        write_scenes(tmp_path, SMOKE, {"train": 10_000_000}, SIZE, 7, workers=1)
    with pytest.raises(ValueError, match="found none"):
        load_scenes(tmp_path / "nothing")
