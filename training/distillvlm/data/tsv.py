"""Tab-separated files of OSCAR and VinVL: one row a key, read at its byte offset.

`x.tsv` has the offsets of its rows, one decimal number a line, in `x.lineidx`.
Source: https://github.com/microsoft/Oscar, oscar/utils/tsv_file.py.
"""

from __future__ import annotations

import hashlib
import mmap
from array import array
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from distillvlm.data.atomic_files import write_text_atomically

CACHE = Path.home() / ".cache" / "distillvlm"


class TsvFile:
    """Rows by number or by key (the first column). In memory are the offsets, and the keys once one is asked for."""

    def __init__(self, path: Path, cache: Path = CACHE) -> None:
        """
        cache: takes the offsets where they are neither beside the file nor can be written there.
        Raises:
            ValueError: the file can't be read, is empty, or its `.lineidx` is another file's; names it.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ValueError(f"Cannot read {path}: {error}") from error
        self._offsets = _offsets(path, self._bytes, cache)

    def __len__(self) -> int:
        return len(self._offsets)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each key, in the file's order.

        Raises:
            ValueError: a key is there twice; names the file and both rows.
        """
        row_of: dict[str, int] = {}
        for row in range(len(self)):
            key = self.key(row)
            if row_of.setdefault(key, row) != row:
                raise ValueError(f"{self.path}, row {row}: key {key!r} is in row {row_of[key]} too")
        return row_of

    def key(self, row: int) -> str:
        """The first column, without reading the rest of a row that may be a megabyte long."""
        start = int(self._offsets[row])
        tab, end = self._bytes.find(b"\t", start), self._end(start)
        if not start <= tab < end:
            raise ValueError(f"{self.path}, row {row}: expected a key and a tab")
        return self._text(row, start, tab).strip()

    def columns(self, row: int) -> list[str]:
        """All columns of a row, its key first."""
        start = int(self._offsets[row])
        return [column.strip() for column in self._text(row, start, self._end(start)).split("\t")]

    def columns_of(self, key: str) -> list[str]:
        """
        Raises:
            ValueError: no row has this key; names file and key.
        """
        if key not in self.row_of:
            raise ValueError(f"{self.path}: no row has the key {key!r}")
        return self.columns(self.row_of[key])

    def _end(self, start: int) -> int:
        end = self._bytes.find(b"\n", start)
        return len(self._bytes) if end < 0 else end

    def _text(self, row: int, start: int, end: int) -> str:
        try:
            return self._bytes[start:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}, row {row}: {error}") from error


def _offsets(path: Path, content: mmap.mmap, cache: Path) -> np.ndarray:
    """Byte offsets of the rows, int64 [rows]: read, or found and kept beside the file, else in the cache."""
    stat = path.stat()
    version = f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}"
    beside = path.with_suffix(".lineidx")
    cached = cache / f"{hashlib.sha256(version.encode()).hexdigest()[:16]}.lineidx"
    for index in (beside, cached):
        if index.is_file():
            return _read_offsets(index, path, content)
    offsets = _find_offsets(path, content)
    text = "".join(f"{offset}\n" for offset in offsets)
    try:
        write_text_atomically(beside, text)
    except OSError:  # a folder that is only readable
        cache.mkdir(parents=True, exist_ok=True)
        write_text_atomically(cached, text)
    return offsets


def _read_offsets(index: Path, path: Path, content: mmap.mmap) -> np.ndarray:
    try:
        offsets = np.array(index.read_text().split(), np.int64)
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {index}: {error}") from error
    starts_rows = len(offsets) > 0 and offsets[0] == 0 and bool((np.diff(offsets) > 0).all())
    last = int(offsets[-1]) if starts_rows else 0
    ends_the_file = content.find(b"\n", last) in (-1, len(content) - 1)
    if not starts_rows or not ends_the_file or (last and content[last - 1 : last] != b"\n"):
        raise ValueError(f"{index}: its offsets are not those of the rows of {path}; delete it to have it made anew")
    return offsets


def _find_offsets(path: Path, content: mmap.mmap) -> np.ndarray:
    offsets = array("q")
    start = 0
    with tqdm(total=len(content), desc=f"rows of {path.name}", unit="B", unit_scale=True, mininterval=1.0) as bar:
        while start < len(content):
            offsets.append(start)
            end = content.find(b"\n", start)
            following = len(content) if end < 0 else end + 1
            bar.update(following - start)
            start = following
    return np.array(offsets, np.int64)
