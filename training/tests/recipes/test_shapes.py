import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distillvlm.data.records import Record
from distillvlm.evaluation.server import Scored
from distillvlm.recipes import shapes as module
from distillvlm.recipes.shapes import SIDE, compare_shapes


def record(folder: Path, number: int, size: tuple[int, int]) -> Record:
    path = folder / f"{number}.png"
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(path)
    captions = tuple(f"a dog and {number} cats run on the beach {place}" for place in range(5))
    return Record(f"coco/{number}", path, *size, "val", "coco", captions)


def test_oblong_photos_are_held_against_the_same_in_square_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [record(tmp_path, number, (60, 40) if number else (40, 40)) for number in range(4)]
    asked: list[list[tuple[int, int]]] = []

    def caption(url: str, paths: Sequence[Path]) -> dict[Path, Scored]:
        asked.append([Image.open(path).size for path in paths])
        oblong = len(asked) == 1
        said = {path: f"a dog and {number if oblong else 1} cats run" for number, path in enumerate(paths, 1)}
        return {path: Scored(text, 0.5) for path, text in said.items()}

    monkeypatch.setattr(module, "load_photos", lambda root: records)
    monkeypatch.setattr(module, "caption_photos", caption)
    found = compare_shapes("http://server", tmp_path, "val", tmp_path / "out")
    assert asked == [[(60, 40)] * 3, [(SIDE, SIDE)] * 3]
    row = found["coco"]
    assert row["photos"] == 3
    assert row["same caption"] == pytest.approx(1 / 3)
    difference = row["as it is"]["value"] - row["square"]["value"]
    assert row["as it is - square"]["value"] == pytest.approx(difference)
    assert difference > 0
    written = json.loads((tmp_path / "out" / "shapes.json").read_text())
    assert written["captions"]["square"]["coco/3"] == "a dog and 1 cats run"


def test_a_split_without_oblong_photos_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_photos", lambda root: [record(tmp_path, 0, (40, 40))])
    with pytest.raises(ValueError, match="expected oblong photos with captions in split 'val' but found none"):
        compare_shapes("http://server", tmp_path, "val", tmp_path)
