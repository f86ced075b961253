"""The concept head as a task of the engine: regions of captioned photos, and the words that their captions say."""

# Shapes: B photos, n photos of the training, W concept words.
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distillvlm.data.epochs import places_of_step
from distillvlm.data.region_store import RegionStore
from distillvlm.engine.trainer import Task
from distillvlm.losses.concepts import concept_loss
from distillvlm.modeling.detector import ConceptHead
from distillvlm.structures.regions import Regions


@dataclass(frozen=True)
class ConceptBatch:
    """shares: float32 [B, W], of each photo's captions those that say the word. folds: int64 [B], see `fold_of`."""

    regions: Regions
    shares: Tensor
    folds: Tensor

    def to(self, device: torch.device | str) -> ConceptBatch:
        return ConceptBatch(self.regions.to(device), self.shares.to(device), self.folds.to(device))


class ConceptTask(Task):
    """Trains a head; with `left_out`, on the photos of all other folds, in the same batches."""

    def __init__(self, head: ConceptHead, classes_of: Callable[[Regions], Tensor], left_out: int | None = None) -> None:
        """classes_of: the frozen detector's `classes_of`, on the device that training uses."""
        super().__init__()
        self.trained = head
        self.head = head
        self.classes_of = classes_of
        self.left_out = left_out
        self.loss_weights = {}

    def forward(self, batch: ConceptBatch) -> dict[str, Tensor]:
        batch = batch.to(self.head.feature_mean.device)
        regions, shares = batch.regions, batch.shares
        if self.left_out is not None:
            kept = batch.folds != self.left_out
            regions, shares = regions[kept], shares[kept]
        with torch.no_grad(), torch.autocast(shares.device.type, enabled=False):
            classes = self.classes_of(regions)
        return {"concept": concept_loss(*self.head.of_regions(regions, classes), shares)}


class ConceptBatches:
    """Batches of photos in views drawn at random; the batch of a step depends on (seed, step) alone."""

    def __init__(
        self,
        store: RegionStore,
        photo_ids: Sequence[str],
        shares_nW: np.ndarray,
        folds_n: np.ndarray,
        batch_size: int,
        seed: int,
    ) -> None:
        """shares, folds: of the photos, in their order (see `ConceptBatch`)."""
        if not len(photo_ids) == len(shares_nW) == len(folds_n) > 0:
            raise ValueError(
                f"Expected shares and folds of each photo but received {len(photo_ids)} photos, {len(shares_nW)} rows "
                f"of shares and {len(folds_n)} folds"
            )
        self.store, self.photo_ids, self.batch_size, self.seed = store, photo_ids, batch_size, seed
        self.shares, self.folds = torch.from_numpy(shares_nW), torch.from_numpy(folds_n)

    def batch(self, step: int) -> ConceptBatch:
        rows = places_of_step(len(self.photo_ids), self.batch_size, self.seed, step)
        views = np.random.default_rng([self.seed, 1, step]).integers(0, self.store.views, len(rows))
        regions = self.store.regions([self.photo_ids[row] for row in rows], views.tolist())
        return ConceptBatch(regions, self.shares[rows], self.folds[rows])
