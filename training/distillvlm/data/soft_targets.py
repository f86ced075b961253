"""What a teacher makes of every text of a pool, computed once: the likeliest words or answers with their probabilities.

A teacher is overconfident on photos that it was trained on; made by one that has not seen them, these are what it
really knows, and no student pays for its forward passes again.
"""

# Shapes: V views, X texts of a pool, T places of a caption, K likeliest, B photos, N texts of a photo.
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from distillvlm.data.atomic_files import write_text_atomically

LARGEST_ID = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Likeliest:
    """ids: int64 [..., K], pieces of the vocabulary or answers. probabilities: float32 [..., K]; pieces' sum to less
    than 1, answers' are one each."""

    ids: Tensor
    probabilities: Tensor

    def to(self, device: torch.device) -> Likeliest:
        return Likeliest(self.ids.to(device), self.probabilities.to(device))

    def __getitem__(self, index: Tensor) -> Likeliest:
        return Likeliest(self.ids[index], self.probabilities[index])


class SoftTargets:
    """Of every text in every view: of captions [V, X, T, K], of questions [V, X, K]; 0 at places without a word."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ValueError: the folder holds none, or not all of them.
        """
        if not (folder / "complete").is_file():
            raise ValueError(f"{folder}: expected a teacher's soft targets; run the stage that writes them")
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")
        self.probabilities = np.load(folder / "probabilities.npy", mmap_mode="r")

    def __len__(self) -> int:
        """Texts."""
        return self.ids.shape[1]

    def of(self, views_B: Sequence[int], texts_BN: np.ndarray, length: int) -> Likeliest:
        """Of the texts with these numbers in the pool: [B, N, K], or of captions [B, N, `length`, K]."""
        views_B1 = np.asarray(views_B)[:, None]
        ids, probabilities = self.ids[views_B1, texts_BN], self.probabilities[views_B1, texts_BN]
        if ids.ndim == 4:
            ids, probabilities = ids[:, :, :length], probabilities[:, :, :length]
        return Likeliest(torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(probabilities.astype(np.float32)))


def write_soft_targets(
    parts: Iterator[tuple[int, np.ndarray, Likeliest]],
    total: int,
    shape: tuple[int, ...],
    folder: Path,
) -> SoftTargets:
    """Writes what a teacher says, part by part.

    parts: view, numbers of texts int [Y], and their `Likeliest` [Y, ...] (captions shorter than `shape` says are
        padded); `total` parts. shape: of the whole, [V, X, T, K] or [V, X, K].
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = np.lib.format.open_memmap(folder / "ids.npy", "w+", np.uint16, shape)
    probabilities = np.lib.format.open_memmap(folder / "probabilities.npy", "w+", np.float16, shape)
    for view, texts, found in tqdm(parts, total=total, desc="soft targets", unit="batch", mininterval=1.0):
        if int(found.ids.max()) > LARGEST_ID:
            raise ValueError(f"soft targets: expected ids up to {LARGEST_ID} but received {int(found.ids.max())}")
        place = (view, texts, slice(found.ids.shape[1])) if len(shape) == 4 else (view, texts)
        ids[place] = found.ids.cpu().numpy()
        probabilities[place] = found.probabilities.cpu().numpy()
    ids.flush()
    probabilities.flush()
    write_text_atomically(folder / "complete", "")
    return SoftTargets(folder)
