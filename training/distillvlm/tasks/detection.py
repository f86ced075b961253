"""Detection as a task of the engine: batches of photos with objects, and the detector's losses on them."""

# Shapes: B photos, H, W pixels, M objects.
from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distillvlm.data.epochs import places_of_step
from distillvlm.data.pixels import load_pixels
from distillvlm.data.records import ObjectBox, Record
from distillvlm.engine.trainer import Task
from distillvlm.modeling.detector import DetectionTargets, Detector, DetectorConfig
from distillvlm.modeling.detector.boxes import MIN_SIDE
from distillvlm.tasks.joint_batch_norm import join_batch_norms


@dataclass(frozen=True)
class DetectionBatch:
    """pixels: uint8 [B, H, W, 3]."""

    pixels: Tensor
    targets: DetectionTargets

    def to(self, device: torch.device | str) -> DetectionBatch:
        return DetectionBatch(self.pixels.to(device), self.targets.to(device))


class DetectionTask(Task):
    """Trains a detector; its norms then see the photos of all processes."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        join_batch_norms(detector)
        self.trained = detector
        self.detector = detector
        self.loss_weights = {}

    def forward(self, batch: DetectionBatch) -> dict[str, Tensor]:
        batch = batch.to(self.detector.anchors.device)
        return self.detector.losses(batch.pixels, batch.targets)


class DetectionBatches:
    """Batches of records; the batch of a step depends on (seed, step) alone, so a run can resume anywhere.

    flip: mirrors each photo with chance 1/2. keep_pixels: keeps decoded photos in memory (H * W * 3 bytes each).
    min_score: machine-made boxes below are left out; the others weigh by their score.
    """

    def __init__(
        self,
        records: Sequence[Record],
        config: DetectorConfig,
        batch_size: int,
        seed: int,
        *,
        flip: bool = True,
        keep_pixels: bool = False,
        min_score: float = 0.3,
    ) -> None:
        if not records:
            raise ValueError("Expected at least one record but received none")
        self.records = records
        self.config = config
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.min_score = min_score
        self._kept: dict[int, np.ndarray] | None = {} if keep_pixels else None
        self._loaders = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="photos")
        self._labels = {label: index for index, label in enumerate(config.labels)}
        self._attributes = {attribute: index for index, attribute in enumerate(config.attributes)}

    def __len__(self) -> int:
        """Steps of an epoch, the last one filled from the next."""
        return -(-len(self.records) // self.batch_size)

    def batch(self, step: int) -> DetectionBatch:
        indices = places_of_step(len(self.records), self.batch_size, self.seed, step)
        flips = np.random.default_rng([self.seed, 1, step]).random(self.batch_size) < (0.5 if self.flip else 0.0)
        photos = self._loaders.map(self._pixels, indices)
        pixels = np.stack([photo[:, ::-1] if flip else photo for photo, flip in zip(photos, flips, strict=True)])
        targets = collate_targets(
            [self._objects(self.records[index]) for index in indices],
            [(record.width, record.height) for record in (self.records[index] for index in indices)],
            self._labels,
            self._attributes,
        )
        return DetectionBatch(torch.from_numpy(pixels), _flipped(targets, torch.from_numpy(flips)))

    def _pixels(self, index: int) -> np.ndarray:
        if self._kept is None:
            return load_pixels(self.records[index].path, self.config.image_size)
        if index not in self._kept:
            self._kept[index] = load_pixels(self.records[index].path, self.config.image_size)
        return self._kept[index]

    def _objects(self, record: Record) -> list[ObjectBox]:
        """Those whose label the detector knows, that are certain enough and not too thin."""
        return [
            each
            for each in record.objects
            if each.label in self._labels
            and each.score >= self.min_score
            and each.box[2] - each.box[0] >= MIN_SIDE * record.width
            and each.box[3] - each.box[1] >= MIN_SIDE * record.height
        ]


def collate_targets(
    objects: Sequence[Sequence[ObjectBox]],
    sizes: Sequence[tuple[int, int]],
    labels: dict[str, int],
    attributes: dict[str, int],
) -> DetectionTargets:
    """Pads to the most objects of a photo, at least one; sizes are (width, height) of the boxes' pixels."""
    most = max(1, *(len(each) for each in objects))
    boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(len(objects), most, 1)
    label = torch.zeros(len(objects), most, dtype=torch.int64)
    attribute = torch.zeros(len(objects), most, len(attributes), dtype=torch.bool)
    weights = torch.zeros(len(objects), most)
    for photo, (row, (width, height)) in enumerate(zip(objects, sizes, strict=True)):
        for place, each in enumerate(row):
            boxes[photo, place] = torch.tensor(each.box) / torch.tensor([width, height, width, height])
            label[photo, place] = labels[each.label]
            known = [attributes[name] for name in each.attributes if name in attributes]
            attribute[photo, place, known] = True
            weights[photo, place] = each.score
    return DetectionTargets(boxes.clamp(0.0, 1.0), label, attribute, weights)


def _flipped(targets: DetectionTargets, flips_B: Tensor) -> DetectionTargets:
    x1, y1, x2, y2 = targets.boxes.unbind(dim=-1)
    mirrored = torch.stack([1 - x2, y1, 1 - x1, y2], dim=-1)
    boxes = torch.where(flips_B[:, None, None], mirrored, targets.boxes)
    return DetectionTargets(boxes, targets.labels, targets.attributes, targets.weights)
