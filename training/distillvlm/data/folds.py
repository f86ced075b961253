"""Folds: which part of the training photos a photo belongs to, the same for every model that leaves a part out."""

from __future__ import annotations

import hashlib


def fold_of(photo_id: str, folds: int) -> int:
    """0 to folds - 1, by the photo's id alone; each gets about as many photos."""
    digest = hashlib.sha256(photo_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % folds
