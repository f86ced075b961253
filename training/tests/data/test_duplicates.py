"""A photo that is in two splits is found, whatever its name, size and compression; strangers are not."""

from pathlib import Path

import numpy as np
from PIL import Image

from distillvlm.data.duplicates import twins_of_held_out
from distillvlm.data.records import Record, Split


def photo(folder: Path, name: str, seed: int, split: Split, size: int = 96, quality: int = 95) -> Record:
    """A smooth picture of its seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    path = folder / f"{name}.jpg"
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path, quality=quality)
    return Record(f"test/{name}", path, size, size, split, "test")


def test_other_files_of_one_photo_are_twins_and_strangers_are_not(tmp_path: Path) -> None:
    records = [
        photo(tmp_path, "held-out", 1, "test"),
        photo(tmp_path, "validation", 2, "val"),
        photo(tmp_path, "smaller", 1, "train", size=64, quality=60),
        photo(tmp_path, "larger", 2, "train", size=200),
        *(photo(tmp_path, f"stranger-{seed}", seed, "train") for seed in range(3, 40)),
        photo(tmp_path, "also held out", 1, "val"),
    ]
    assert twins_of_held_out(records) == {"test/smaller": "test/also held out", "test/larger": "test/validation"}
