"""A folder of generated scenes: pictures and annotations, drawn once and read like any public data set.

Layout: scenes.json (what was asked for); for each split images/<number>.png and the files of `write_annotations`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tqdm import tqdm

from distillvlm.data.annotation_files import SPLITS, PhotoSet, parse_split, read_json
from distillvlm.data.coco import read_captions
from distillvlm.data.photos import merge_photos
from distillvlm.data.pixels import upright_size
from distillvlm.data.records import Record, Split
from distillvlm.data.scenes.captions import make_captions
from distillvlm.data.scenes.difficulty import Difficulty
from distillvlm.data.scenes.drawing import draw_scene
from distillvlm.data.scenes.layout import Scene, make_scene
from distillvlm.data.scenes.questions import make_questions
from distillvlm.data.scenes.writers import PER_IMAGE, Annotated, write_annotations
from distillvlm.data.visual_genome import read_visual_genome
from distillvlm.data.vqa import join_questions, read_questions

SOURCE = "scenes"
EDITION = 1  # to be raised when the same seed gives other scenes or other pictures
_SPLIT_SIZE = 10_000_000  # numbers of a split's images begin at a multiple of it
_SCENES_PER_TASK = 16


def write_scenes(
    root: Path,
    difficulty: Difficulty,
    counts: Mapping[str, int],
    image_size: tuple[int, int],
    seed: int,
    workers: int | None = None,
) -> None:
    """Draws what is missing under `root`; a run that was stopped goes on, one with other settings begins anew.

    counts: scenes of each split. image_size: (height, width) in pixels. workers: processes, None for one a core.
    Raises:
        ValueError: an unknown split, or more scenes than a split can hold.
    """
    for name, count in counts.items():
        if not 0 <= count < _SPLIT_SIZE:
            raise ValueError(f"counts: expected less than {_SPLIT_SIZE} scenes of {name}, received {count}")
    settings = {
        "edition": EDITION,
        "seed": seed,
        "image_size": list(image_size),
        "difficulty": json.loads(json.dumps(asdict(difficulty))),
    }
    _begin(root, settings)
    with ProcessPoolExecutor(workers) as pool:
        for name, count in counts.items():
            split = parse_split(name)
            folder = root / split
            (folder / "images").mkdir(parents=True, exist_ok=True)
            make = partial(_make, folder, difficulty, split, image_size, seed)
            made = pool.map(make, range(count), chunksize=_SCENES_PER_TASK)
            scenes = list(tqdm(made, f"scenes, {split}", count, unit="scene"))
            write_annotations(folder, scenes, difficulty.categories)


def scene_of(record: Record, difficulty: Difficulty, seed: int) -> Scene:
    """What was drawn for a record of `load_scenes`."""
    image_id = int(record.photo_id.removeprefix(f"{SOURCE}/"))
    return make_scene(seed, record.split, image_id - 1 - SPLITS.index(record.split) * _SPLIT_SIZE, difficulty)


def load_scenes(root: Path) -> list[Record]:
    """The scenes of all splits, read by the readers of COCO captions, VQA v2 and Visual Genome.

    Raises:
        ValueError: nothing was written there, or a record is malformed; names folder or file.
    """
    splits = [split for split in SPLITS if (root / split / "captions.json").is_file()]
    if not splits:
        raise ValueError(f"{root}: expected generated scenes, found none")
    return [record for split in splits for record in _load_split(root / split, split)]


def _load_split(folder: Path, split: Split) -> list[Record]:
    photos = PhotoSet(SOURCE, folder / "images", split)
    merged = merge_photos(
        read_captions(folder / "captions.json", photos),
        read_visual_genome(folder / "objects.json", folder / "attributes.json", photos),
    )
    questions = folder / "questions.json"
    return join_questions(merged, SOURCE, read_questions(questions, folder / "annotations.json"), questions)


def _begin(root: Path, settings: dict[str, object]) -> None:
    """Removes the pictures of other settings before it notes the new ones, so that a stop in between does no harm."""
    note = root / "scenes.json"
    if note.is_file() and read_json(note) == settings:
        return
    for picture in root.glob("*/images/*.png"):
        picture.unlink()
    root.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(settings, indent=1))


def _make(
    folder: Path, difficulty: Difficulty, split: Split, image_size: tuple[int, int], seed: int, number: int
) -> Annotated:
    """The annotations of one scene; draws its picture if it is not there."""
    scene = make_scene(seed, split, number, difficulty)
    image_id = SPLITS.index(split) * _SPLIT_SIZE + number + 1
    path = folder / "images" / f"{image_id}.png"
    if not _is_drawn(path, image_size):
        # Written beside and renamed, so that a stop leaves no half of a picture under its name.
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        draw_scene(scene, image_size).save(unfinished, "PNG", compress_level=3)
        unfinished.replace(path)
    return Annotated(
        image_id=image_id,
        file_name=path.name,
        height=image_size[0],
        width=image_size[1],
        things=scene.things,
        captions=make_captions(scene, difficulty),
        questions=make_questions(scene, split, difficulty, image_id * PER_IMAGE),
    )


def _is_drawn(path: Path, image_size: tuple[int, int]) -> bool:
    try:
        return path.is_file() and upright_size(path) == image_size
    except ValueError:  # no picture: to be drawn again
        return False
