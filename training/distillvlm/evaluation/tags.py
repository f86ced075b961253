"""How well tags say what people say of photos."""

# Shapes: n photos, G tags, W tag words.
from __future__ import annotations

import numpy as np


def tag_scores(tags_nG: np.ndarray, said_nW: np.ndarray) -> dict[str, float]:
    """Tags of a photo (how many), their precision and recall, each 0-1 and over the tags and words of all photos.

    tags: rows of the tag words, -1 for none. said: bool, whether any of the photo's captions says the word.
    """
    given = tags_nG >= 0
    right = given & np.take_along_axis(said_nW, tags_nG.clip(0), axis=1)
    return {
        "tags": given.sum() / max(1, len(tags_nG)),
        "precision": right.sum() / max(1, given.sum()),
        "recall": right.sum() / max(1, said_nW.sum()),
    }


def mean_average_precision(scores_nW: np.ndarray, said_nW: np.ndarray) -> float:
    """Mean over words that are said at all of the average precision of photos ranked by the word's score.

    Of photos with equal scores the earlier comes first.
    """
    is_said_W = said_nW.any(0)
    if not is_said_W.any():
        return 0.0
    order_nW = np.argsort(-scores_nW[:, is_said_W], axis=0, kind="stable")
    ranked_nW = np.take_along_axis(said_nW[:, is_said_W], order_nW, axis=0)
    precision_nW = ranked_nW.cumsum(0) / np.arange(1, len(ranked_nW) + 1)[:, None]
    return float(((precision_nW * ranked_nW).sum(0) / ranked_nW.sum(0)).mean())
