"""The order of photos in a training, as a function of the step."""

from __future__ import annotations

import numpy as np


def places_of_step(count: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Places step * batch_size ... of the endless row of epochs, each a permutation of `count` photos of its own."""
    places = range(step * batch_size, (step + 1) * batch_size)
    epochs = {place // count for place in places}
    order = {epoch: np.random.default_rng([seed, 0, epoch]).permutation(count) for epoch in epochs}
    return [int(order[place // count][place % count]) for place in places]
