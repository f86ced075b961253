"""Views of a photo: cuts that stay inside it, show most of it, and are the same in every run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from distillvlm.data.pixels import load_pixels
from distillvlm.data.records import Record
from distillvlm.data.region_store import extract_regions
from distillvlm.data.views import LEAST_AREA, WHOLE, crop_of
from distillvlm.structures.regions import Regions

from .photo_set import describe, photo_records


def test_cuts_show_most_of_the_photo_in_other_shapes() -> None:
    cuts = np.array([crop_of(f"photo/{number}", 2) for number in range(500)])
    width, height = cuts[:, 2] - cuts[:, 0], cuts[:, 3] - cuts[:, 1]
    assert cuts.min() >= 0
    assert cuts.max() <= 1
    aspect = width / height
    assert aspect.min() == pytest.approx(0.8, abs=0.02)
    assert aspect.max() == pytest.approx(1.25, abs=0.02)
    assert (width * height).min() >= LEAST_AREA * 0.9  # a wide cut of a whole photo ends at its edge


def test_a_view_of_a_photo_is_always_the_same_cut() -> None:
    assert crop_of("photo/1", 2) == crop_of("photo/1", 2)
    assert len({crop_of("photo/1", 2), crop_of("photo/1", 3), crop_of("photo/2", 2)}) == 3
    assert crop_of("photo/1", 0) == crop_of("photo/1", 1) == WHOLE


def test_a_cut_is_taken_from_the_upright_photo_before_it_is_squashed(tmp_path: Path) -> None:
    quarters = np.zeros((8, 16, 3), np.uint8)
    quarters[:4, 8:] = 200
    turned = Image.fromarray(np.rot90(quarters))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise to stand upright
    turned.save(tmp_path / "turned.png", exif=exif)
    pixels = load_pixels(tmp_path / "turned.png", (4, 4), (0.5, 0.0, 1.0, 0.5))
    assert pixels.shape == (4, 4, 3)
    assert (pixels == 200).all()


def test_a_detector_looks_at_every_view(tmp_path: Path) -> None:
    records = photo_records(tmp_path, 2)
    slope = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)
    Image.fromarray(np.stack([slope] * 3, -1)).save(records[0].path)
    seen: list[Tensor] = []

    def look(pixels: Tensor, chosen: list[Record], view: int) -> Regions:
        seen.append(pixels[0].float())
        return describe(pixels, chosen, view)

    extract_regions(look, records, (8, 8), tmp_path / "store", "test", views=3)
    whole, mirrored, cut = seen
    assert torch.equal(mirrored, whole.flip(1))
    assert cut.shape == whole.shape
    assert not torch.equal(cut, whole)
