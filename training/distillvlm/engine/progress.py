"""The losses of every step, as they are logged."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from distillvlm.data.atomic_files import write_text_atomically


@dataclass(frozen=True)
class Progress:
    """One step's losses and measurements as they are logged; `gradient_shares` where they were taken. seconds: that the
    step took this training, without others in lock-step; the first of those that one teacher teaches pays for what it
    says, the rest find it there."""

    step: int
    losses: dict[str, float]
    gradient_shares: dict[str, float] = field(default_factory=dict)
    seconds: float | None = field(default=None, compare=False)


def training_seconds(history: list[Progress]) -> float | None:
    """Of all steps, over all sittings; None where one of them was not timed, or there are none."""
    seconds = [progress.seconds for progress in history if progress.seconds is not None]
    return sum(seconds) if history and len(seconds) == len(history) else None


def recent_means(history: list[Progress], window: int = 50) -> dict[str, float]:
    """Mean of each loss over the last steps that had it."""
    gathered: dict[str, list[float]] = {}
    for progress in history[-window:]:
        for name, value in progress.losses.items():
            gathered.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in gathered.items()}


def append_progress(folder: Path, steps: Sequence[Progress]) -> None:
    """Puts steps behind those that the folder's file has; on disk when it returns."""
    with _file(folder).open("a") as file:
        file.writelines(map(_line, steps))
        file.flush()
        os.fsync(file.fileno())


def keep_progress(folder: Path, count: int, writes: bool) -> list[Progress]:
    """The first `count` steps; what a killed run wrote behind them, a torn line among it, is taken from the file.

    writes: False in all processes but the first, which leave the file as it is.
    Raises:
        ValueError: the file has fewer.
    """
    lines = _file(folder).read_text().splitlines(keepends=True) if _file(folder).exists() else []
    if len(lines) < count:
        raise ValueError(f"{_file(folder)}: expected {count} steps, which its checkpoint has, but found {len(lines)}")
    if writes and len(lines) > count:
        write_text_atomically(_file(folder), "".join(lines[:count]))
    return [Progress(**json.loads(line)) for line in lines[:count]]


def read_progress(folder: Path) -> list[Progress]:
    """All steps of a finished training."""
    return [Progress(**json.loads(line)) for line in _file(folder).read_text().splitlines()]


def _file(folder: Path) -> Path:
    return folder / "losses.jsonl"


def _line(progress: Progress) -> str:
    return json.dumps(asdict(progress)) + "\n"
