"""Files that a kill can't tear."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_text_atomically(path: Path, text: str) -> None:
    """Writes beside the target, then renames: the target is the old text or the new, never half."""
    partial = _beside(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def save_arrays_atomically(path: Path, arrays: Mapping[str, Any]) -> None:
    """Compressed, as `numpy.savez_compressed` writes them; the file is there as a whole or not at all."""
    partial = _beside(path)
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(path)


def _beside(path: Path) -> Path:
    """A name that no other process writes to."""
    return path.with_name(f"{path.name}.{os.getpid()}.partial")
