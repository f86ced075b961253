"""The losses of every step, as they are logged."""

from __future__ import annotations

import json
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


def write_progress(folder: Path, history: list[Progress]) -> None:
    lines = "".join(json.dumps(asdict(progress)) + "\n" for progress in history)
    write_text_atomically(folder / "losses.jsonl", lines)


def read_progress(folder: Path) -> list[Progress]:
    lines = (folder / "losses.jsonl").read_text().splitlines()
    return [Progress(**json.loads(line)) for line in lines]
