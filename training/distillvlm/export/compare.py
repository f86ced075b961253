"""Whether the two halves say the same of a photo's file: the server's script against Python on the same bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from distillvlm.data.pixels import load_pixels
from distillvlm.export.runtime import BundlePredictor


@dataclass(frozen=True)
class Difference:
    """One photo of which the halves speak differently."""

    image: str
    server: str
    python: str


@dataclass(frozen=True)
class HalvesReport:
    photos: int
    differences: tuple[Difference, ...]

    @property
    def identical_share(self) -> float:
        return 1 - len(self.differences) / max(1, self.photos)

    def __str__(self) -> str:
        lines = [f"{self.photos - len(self.differences)} of {self.photos} captions identical"]
        lines += [f"{each.image}: server {each.server!r}, Python {each.python!r}" for each in self.differences]
        return "\n".join(lines)


def compare_results(bundle: Path, results: Path, root: Path) -> HalvesReport:
    """Captions every photo of a results file of `npm run score` again, in Python, from the file itself.

    root: what the file's relative image paths start from; lines of broken photos are passed over.

    Raises:
        ValueError: the results hold no caption.
    """
    predictor = BundlePredictor(bundle, threads=2)
    lines = list(_captions(results))
    if not lines:
        raise ValueError(f"{results}: expected lines with captions but found none")
    differences = []
    for line in tqdm(lines, desc="Python", unit="photo", mininterval=1.0):
        pixels = load_pixels(root / line["image"], predictor.image_size)
        caption = predictor.captions(predictor.encode(np.stack([pixels])), num_captions=1)[0][0]
        if caption.text != line["caption"]:
            differences.append(Difference(line["image"], line["caption"], caption.text))
    return HalvesReport(len(lines), tuple(differences))


def _captions(results: Path) -> Iterator[dict[str, str]]:
    for line in results.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        if "caption" in content:
            yield content
