"""Photos that are in two splits under different names, found by what they show."""

# Shapes: n photos, W 64-bit words of a hash.
from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from distillvlm.data.pixels import load_pixels
from distillvlm.data.records import Record

SIDE = 16  # cells of a hash along a side, so 256 bits
MOST_BITS = 24  # that differ between two files of one photo; strangers differ in half
HELD_OUT_AT_ONCE = 64


def difference_hash(record: Record) -> np.ndarray:
    """Whether each cell of the grey photo is brighter than the one left of it: uint64 [4].

    Source: Krawetz 2013, "Kind of Like That", hackerfactor.com.
    """
    pixels = load_pixels(record.path, (SIDE, SIDE + 1)).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.packbits(pixels[:, 1:] > pixels[:, :-1]).view(np.uint64)


def twins_of_held_out(records: Sequence[Record], most_bits: int = MOST_BITS) -> dict[str, str]:
    """Training photos that show what a validation or test photo shows, by id, each with the id of such a one."""
    with ThreadPoolExecutor(2) as loaders:
        hashes_nW = np.stack(list(tqdm(loaders.map(difference_hash, records), "hashes", len(records), mininterval=1.0)))
    is_training_n = np.array([record.split == "train" for record in records])
    training, held_out = np.flatnonzero(is_training_n), np.flatnonzero(~is_training_n)
    twins: dict[str, str] = {}
    for start in range(0, len(held_out), HELD_OUT_AT_ONCE):
        some = held_out[start : start + HELD_OUT_AT_ONCE]
        differing = np.bitwise_count(hashes_nW[some, None] ^ hashes_nW[training]).sum(-1)
        for other, own in np.argwhere(differing <= most_bits):
            twins[records[training[own]].photo_id] = records[some[other]].photo_id
    return twins
