"""What a student is shown of the regions of a store: all of it, or less, to see what the rest is worth."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np

from distillvlm.data.region_store import RegionStore


@dataclass(frozen=True)
class Sight:
    """tags: of the concept head. source: the name of its data set among them. views: the first ones of each photo, and
    regions: the first ones of each view; None: all."""

    tags: bool = True
    source: bool = True
    views: int | None = None
    regions: int | None = None

    def of(self, store: RegionStore) -> RegionStore:
        """The same store, seen so."""
        seen = copy(store)
        seen.views = store.views if self.views is None else min(self.views, store.views)
        tags, valid = np.array(store.arrays["tags"]), np.array(store.arrays["valid"])
        if not self.tags:
            tags[..., :-1] = -1
        if not self.source:
            tags[..., -1] = -1
        if self.regions is not None:
            valid[..., self.regions :] = False
        seen.arrays = {**store.arrays, "tags": tags, "valid": valid}
        return seen


ALL = Sight()
