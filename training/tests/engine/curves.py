"""TensorBoard's curves of a training, and what two trainings in one process must mind for them."""

import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read_curves(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def next_second() -> None:
    """Between a killed training and its continuation, where one process runs both.

    TensorBoard reads files in the order of their names: the second they were begun in, the process, and a counter of
    the process without leading zeros, so that of one second the tenth file comes before the ninth.
    """
    time.sleep(1 - time.time() % 1)
