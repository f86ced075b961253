"""The views that a training has of one photo: as it is, mirrored, and cut in other shapes."""

from __future__ import annotations

import hashlib
import math

import numpy as np

IDENTITY, FLIP = 0, 1
WHOLE = (0.0, 0.0, 1.0, 1.0)
LEAST_AREA = 0.72  # of a cut: captions speak of what stands at the edge, too
JITTER = math.log(1.25)  # of the aspect


def crop_of(photo_id: str, view: int) -> tuple[float, float, float, float]:
    """What a view shows of the photo: x1, y1, x2, y2 as shares (0-1) of it, the same in every run.

    Views 0 and 1 show all of it. From 2 on they are cuts of at least `LEAST_AREA` of it, whose aspect differs by up to
    a quarter: squashed to the model's square, things are wider or narrower, and larger, than they were.
    """
    if view in (IDENTITY, FLIP):
        return WHOLE
    digest = hashlib.sha256(f"{photo_id} {view}".encode()).digest()
    draw = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    area, aspect = draw.uniform(LEAST_AREA, 1), math.exp(draw.uniform(-JITTER, JITTER))
    width, height = min(1.0, math.sqrt(area * aspect)), min(1.0, math.sqrt(area / aspect))
    x1, y1 = draw.uniform(0, 1 - width), draw.uniform(0, 1 - height)
    return (x1, y1, x1 + width, y1 + height)
