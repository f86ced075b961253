"""Is a photo of any shape captioned as well as the same photo in a square file, like those that data sets hold?

The server squashes what it gets, and a model may have learnt from files that others had squashed and stored before.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageOps
from PIL.Image import Resampling

from distillvlm.data.photos import load_photos
from distillvlm.data.records import Split, of_split
from distillvlm.evaluation.bootstrap import bootstrap_difference, bootstrap_mean
from distillvlm.evaluation.captions import score_captions, tokenized_references
from distillvlm.evaluation.report import by_source, captioned
from distillvlm.evaluation.server import caption_photos

SIDE = 224  # pixels of the square files, as Flickr8k's squashed ones have
JPEG_QUALITY = 90


def compare_shapes(url: str, data_root: Path, split: Split, folder: Path) -> dict[str, Any]:
    """By data set, CIDEr-D of the captions of a split's oblong photos as they are and as square JPEGs; intervals: 95%
    bootstrap over photos. `shapes.json` in `folder` has the captions too.

    Raises:
        ValueError: no photo of the split is oblong and has five captions.
        ServerError: see `evaluation.server.caption_photos`.
    """
    oblong = [one for one in captioned(of_split(load_photos(data_root), split)) if one.width != one.height]
    if not oblong:
        raise ValueError(f"shapes: expected oblong photos with captions in split {split!r} but found none")
    with TemporaryDirectory() as squares:
        square_of = {record.photo_id: Path(squares) / f"{place}.jpg" for place, record in enumerate(oblong)}
        for record in oblong:
            photo = ImageOps.exif_transpose(Image.open(record.path)).convert("RGB")
            photo.resize((SIDE, SIDE), Resampling.LANCZOS).save(square_of[record.photo_id], quality=JPEG_QUALITY)
        own, squares_said = (
            caption_photos(url, paths) for paths in ([one.path for one in oblong], list(square_of.values()))
        )
    said = {
        "as it is": {record.photo_id: own[record.path].text for record in oblong},
        "square": {photo_id: squares_said[path].text for photo_id, path in square_of.items()},
    }
    report: dict[str, Any] = {}
    for source, group in by_source(oblong).items():
        references = tokenized_references(group)
        whole, square = (score_captions(captions, references) for captions in said.values())
        report[source] = {
            "photos": len(group),
            "as it is": bootstrap_mean(whole)._asdict(),
            "square": bootstrap_mean(square)._asdict(),
            "as it is - square": bootstrap_difference(whole, square)._asdict(),
            "same caption": sum(len({each[one.photo_id] for each in said.values()}) == 1 for one in group) / len(group),
        }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shapes.json").write_text(json.dumps({**report, "captions": said}, indent=1))
    return report
