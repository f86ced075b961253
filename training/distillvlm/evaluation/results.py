"""Result files in the formats that public evaluation servers take, one file a data set.

COCO captions: `[{"image_id": 139, "caption": "..."}]` (https://cocodataset.org/#format-results);
with several captions a photo each has a `score` (the higher the better) beside it;
COCO detections: `[{"image_id": 139, "category_id": 18, "bbox": [x, y, width, height], "score": 0.9}]` (the same page);
VQA: `[{"question_id": 25006, "answer": "..."}]` (https://visualqa.org/evaluation.html).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from distillvlm.data.annotation_files import entries, read_json, reading
from distillvlm.data.atomic_files import write_text_atomically

IdT = TypeVar("IdT", int, int | str)


@dataclass(frozen=True)
class ScoredCaption:
    """A machine's caption and the rank that its search gave it (sum of log-probabilities / length ** alpha)."""

    caption: str
    score: float


@dataclass(frozen=True)
class Detection:
    """A row of COCO's detection results. bbox: x, y, width, height in pixels of the file."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


def write_caption_results(path: Path, captions: Mapping[str, str], source: str) -> None:
    """Writes photo id -> caption of the data set `source`; "coco/139" becomes image_id 139.

    Raises:
        ValueError: a photo id is of another data set.
    """
    rows = [{"image_id": image_id_of(photo_id, source), "caption": caption} for photo_id, caption in captions.items()]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_caption_results(path: Path, source: str) -> dict[str, str]:
    """Reads photo id -> caption.

    Raises:
        ValueError: the file is not a list of image_id and caption, or names a photo twice; names file and record.
    """
    return {
        f"{source}/{image_id}": caption for image_id, caption in _pairs(path, "image_id", "caption", _image_id).items()
    }


def write_scored_captions(path: Path, captions: Mapping[str, Sequence[ScoredCaption]], source: str) -> None:
    """Writes photo id -> captions, best first, one row each; the file is there as a whole or not at all.

    Raises:
        ValueError: a photo id is of another data set.
    """
    rows = [
        {"image_id": image_id_of(photo_id, source), "caption": each.caption, "score": each.score}
        for photo_id, several in captions.items()
        for each in several
    ]
    write_text_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def read_scored_captions(path: Path, source: str) -> dict[str, list[ScoredCaption]]:
    """Reads photo id -> captions in the file's order.

    Raises:
        ValueError: the file is not a list of image_id, caption and score; names file and record.
    """
    captions: dict[str, list[ScoredCaption]] = {}
    for name, row in _rows(path, "image_id"):
        with reading(path, name):
            each = ScoredCaption(_text(row["caption"]), float(row["score"]))
            captions.setdefault(f"{source}/{_image_id(row['image_id'])}", []).append(each)
    return captions


def write_detection_results(path: Path, detections: Sequence[Detection]) -> None:
    path.write_text(json.dumps([asdict(each) for each in detections]) + "\n", encoding="utf-8")


def read_detection_results(path: Path) -> list[Detection]:
    """Reads the detections in the file's order.

    Raises:
        ValueError: the file is not a list of image_id, category_id, bbox (four numbers) and score; names file and
            record.
    """
    detections = []
    for name, row in _rows(path, "image_id"):
        with reading(path, name):
            x, y, width, height = map(float, row["bbox"])
            score = float(row["score"])
            if not all(map(isfinite, (x, y, width, height, score))):
                raise ValueError(f"expected finite numbers, received {row['bbox']} and {row['score']}")
            image_id, category_id = _image_id(row["image_id"]), int(row["category_id"])
            detections.append(Detection(image_id, category_id, (x, y, width, height), score))
    return detections


def write_vqa_results(path: Path, answers: Mapping[int, str]) -> None:
    rows = [{"question_id": question_id, "answer": answer} for question_id, answer in answers.items()]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_vqa_results(path: Path) -> dict[int, str]:
    """Reads question_id -> answer.

    Raises:
        ValueError: the file is not a list of question_id and answer, or names a question twice; names file and record.
    """
    return _pairs(path, "question_id", "answer", int)


def image_id_of(photo_id: str, source: str) -> int | str:
    """A photo's number, or its name, in the files of its data set.

    Raises:
        ValueError: it is of another data set.
    """
    prefix, _, image_id = photo_id.partition("/")
    if prefix != source or not image_id:
        raise ValueError(f"Expected photo ids that start with {source}/ but received {photo_id}")
    # "007" is a name, not the number 7.
    return int(image_id) if image_id.isascii() and image_id.isdigit() and str(int(image_id)) == image_id else image_id


def _pairs(path: Path, key: str, value: str, parse: Callable[[Any], IdT]) -> dict[IdT, str]:
    pairs: dict[IdT, str] = {}
    for name, row in _rows(path, key):
        with reading(path, name):
            number = parse(row[key])
            if number in pairs:
                raise ValueError("listed twice")
            pairs[number] = _text(row[value])
    return pairs


def _rows(path: Path, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its name for errors: "result 139", by its `key`."""
    return entries(path, read_json(path), "result", key)


def _image_id(value: Any) -> int | str:
    if not isinstance(value, int | str):
        raise ValueError(f"expected a number or a name as image_id, received {value!r}")
    return value


def _text(value: Any) -> str:
    """A model may say nothing: an empty one counts."""
    if not isinstance(value, str):
        raise ValueError(f"expected words, received {value!r}")
    return value
