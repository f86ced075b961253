"""Result files in the formats that public evaluation servers take, one file a data set.

COCO captions: `[{"image_id": 139, "caption": "..."}]` (https://cocodataset.org/#format-results);
with several captions a photo each has a `score` (the higher the better) beside it;
VQA: `[{"question_id": 25006, "answer": "..."}]` (https://visualqa.org/evaluation.html).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillvlm.data.atomic_files import write_text_atomically


@dataclass(frozen=True)
class ScoredCaption:
    """A machine's caption and the rank that its search gave it (sum of log-probabilities / length ** alpha)."""

    caption: str
    score: float


def write_caption_results(path: Path, captions: Mapping[str, str], source: str) -> None:
    """Writes photo id -> caption of the data set `source`; "coco/139" becomes image_id 139.

    Raises:
        ValueError: a photo id is of another data set.
    """
    rows = [{"image_id": _image_id(photo_id, source), "caption": caption} for photo_id, caption in captions.items()]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_caption_results(path: Path, source: str) -> dict[str, str]:
    """Reads photo id -> caption.

    Raises:
        ValueError: the file is not a list of image_id and caption, or names a photo twice.
    """
    return {f"{source}/{image_id}": caption for image_id, caption in _pairs(path, "image_id", "caption").items()}


def write_scored_captions(path: Path, captions: Mapping[str, Sequence[ScoredCaption]], source: str) -> None:
    """Writes photo id -> captions, best first, one row each; the file is there as a whole or not at all.

    Raises:
        ValueError: a photo id is of another data set.
    """
    rows = [
        {"image_id": _image_id(photo_id, source), "caption": each.caption, "score": each.score}
        for photo_id, several in captions.items()
        for each in several
    ]
    write_text_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def read_scored_captions(path: Path, source: str) -> dict[str, list[ScoredCaption]]:
    """Reads photo id -> captions in the file's order.

    Raises:
        ValueError: the file is not a list of image_id, caption and score.
    """
    captions: dict[str, list[ScoredCaption]] = {}
    for row in _rows(path, "image_id", "caption", "score"):
        each = ScoredCaption(row["caption"], float(row["score"]))
        captions.setdefault(f"{source}/{row['image_id']}", []).append(each)
    return captions


def write_vqa_results(path: Path, answers: Mapping[int, str]) -> None:
    rows = [{"question_id": question_id, "answer": answer} for question_id, answer in answers.items()]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_vqa_results(path: Path) -> dict[int, str]:
    """Reads question_id -> answer.

    Raises:
        ValueError: the file is not a list of question_id and answer, or names a question twice.
    """
    return {int(question_id): answer for question_id, answer in _pairs(path, "question_id", "answer").items()}


def _image_id(photo_id: str, source: str) -> int | str:
    prefix, _, image_id = photo_id.partition("/")
    if prefix != source or not image_id:
        raise ValueError(f"Expected photo ids that start with {source}/ but received {photo_id}")
    # "007" is a name, not the number 7.
    return int(image_id) if image_id.isascii() and image_id.isdigit() and str(int(image_id)) == image_id else image_id


def _pairs(path: Path, key: str, value: str) -> dict[int | str, str]:
    rows = _rows(path, key, value)
    pairs: dict[int | str, str] = {row[key]: row[value] for row in rows}
    if len(pairs) != len(rows):
        raise ValueError(f"Expected each {key} of {path} once but {len(rows) - len(pairs)} are repeated")
    return pairs


def _rows(path: Path, *keys: str) -> list[dict[str, Any]]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(keys) for row in rows):
        raise ValueError(f"Expected {path} to be a list of objects with {' and '.join(keys)}")
    return rows
