"""What can be watched of a training while it runs: a progress bar and TensorBoard's curves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from distillvlm.engine.progress import Progress, recent_means


def progress_bar(label: str, first: int, steps: int, watched: bool) -> tqdm[Any]:
    """Of a training that begins at step `first`; watched: False in all processes but the first, which show nothing."""
    return tqdm(
        total=steps,
        initial=first,
        desc=label,
        unit="step",
        mininterval=1.0,
        dynamic_ncols=True,
        disable=not watched,
    )


def advance(bar: tqdm[Any], history: list[Progress]) -> None:
    """By one step, with the latest losses."""
    bar.update()
    bar.set_postfix({name: f"{value:.3f}" for name, value in recent_means(history).items()}, refresh=False)


class TrainingLog:
    """Writes TensorBoard's events into `folder`/tensorboard: losses and measurements, rate, rows per second, shares of
    the gradient. Begun at step `first`, it takes back what a killed run wrote of the steps from there on.

    watched: False in all processes but the first, which then write nothing.
    """

    def __init__(self, folder: Path, first: int, watched: bool) -> None:
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first) if watched else None
        self.written_at = time.monotonic()

    def step(self, history: list[Progress], rate: float, rows: int) -> None:
        """Logs the last step of the history. rows: of its whole batch, over all processes."""
        now = time.monotonic()
        figures = {f"losses/{name}": value for name, value in history[-1].losses.items()}
        figures |= {"rate": rate, "rows per second": rows / max(now - self.written_at, 1e-9)}
        self._write(figures, history[-1].step)
        self.written_at = now

    def shares(self, means: Mapping[str, float], step: int) -> None:
        self._write({f"gradient shares/{name}": share for name, share in means.items()}, step)

    def flush(self) -> None:
        """Before every checkpoint: a run that resumes from it then has no gap in its curves."""
        if self.writer is not None:
            self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _write(self, figures: Mapping[str, float], step: int) -> None:
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(name, value, step)
