"""Annotation files (JSON, plain or gzipped), with errors that say which file and which record is wrong."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from distillvlm.data.records import Split

SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class PhotoSet:
    """How the photos of a data set are found, named and split.

    source: first half of every `photo_id` ("coco").
    folder: holds the files that annotations name.
    splits: one split for all, or a split for each photo's key; photos that are not in it are left out.
    key: what names a photo in `splits` and in its `photo_id`: its number, or its file's name.
    """

    source: str
    folder: Path
    splits: Split | Mapping[str, Split]
    key: Literal["id", "file_name"] = "id"

    def split_of(self, key: str) -> Split | None:
        if isinstance(self.splits, Mapping):
            return self.splits.get(key)
        return self.splits

    def photo_id(self, key: str) -> str:
        return f"{self.source}/{key}"


def annotation_file(folder: Path, name: str) -> Path:
    """`name` in `folder`, plain or with `.gz`.

    Raises:
        ValueError: neither is there.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ValueError(f"{folder}: expected the annotation file {name} or {name}.gz, found neither")


def read_json(path: Path) -> Any:
    """The content of a JSON file, gzipped if its name ends in `.gz`.

    Raises:
        ValueError: it can't be read or is not JSON; names the file.
    """
    try:
        content = path.read_bytes()
        return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"Cannot read {path}: {error}") from error


def read_section(path: Path, section: str) -> list[Any]:
    """One list of a JSON object, such as COCO's "images".

    Raises:
        ValueError: there is no such list; names file and section.
    """
    content = read_json(path)
    with reading(path, "the top level"):
        return checked_list(content[section])


def read_splits(path: Path) -> dict[str, Split]:
    """`{"train": [ids], "val": [ids], "test": [ids]}` as the split of each id.

    Raises:
        ValueError: an unknown split, or a photo in two of them; names file and photo.
    """
    split_of: dict[str, Split] = {}
    with reading(path, "the top level"):
        splits = checked_object(read_json(path))
    for name, ids in splits.items():
        with reading(path, f"split {name}"):
            split = parse_split(name)
            for key in map(str, checked_list(ids)):
                if split_of.setdefault(key, split) != split:
                    raise ValueError(f"photo {key} is in {split_of[key]} too")
    return split_of


def parse_split(name: str) -> Split:
    if name not in SPLITS:
        raise ValueError(f"expected a split of {', '.join(SPLITS)}, received {name!r}")
    return name


def checked_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected words, received {value!r}")
    return value.strip()


def checked_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, received {type(value).__name__}")
    return value


def checked_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, received {type(value).__name__}")
    return value


def entries(path: Path, listed: Any, noun: str, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a list, each with its name for errors: "image 42", or its place where it lacks the `key`.

    Raises:
        ValueError: not a list, or a record that is no object; names file and record.
    """
    with reading(path, f"its {noun}s"):
        listed = checked_list(listed)
    for place, entry in enumerate(listed):
        with reading(path, f"{noun} at place {place}"):
            entry = checked_object(entry)
        yield f"{noun} {entry.get(key, f'at place {place}')}", entry


@contextmanager
def reading(path: Path, record: str) -> Iterator[None]:
    """Puts the file and the record before the message of what goes wrong inside.

    Raises:
        ValueError: in place of the KeyError, IndexError, TypeError or ValueError of reading a malformed record.
    """
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path}, {record}: field {error} is missing") from error
    except (IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}, {record}: {error}") from error
