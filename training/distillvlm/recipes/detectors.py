"""Detectors of a recipe: trained or loaded, and run over photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore, extract_regions, store_key, weights_checksum
from distillvlm.engine.checkpoint import load_trained
from distillvlm.engine.processes import fastest_device
from distillvlm.engine.trainer import Schedule, train
from distillvlm.evaluation.detection import detections_of, evaluate_detections, ground_truth_of
from distillvlm.evaluation.report import by_source
from distillvlm.evaluation.results import write_detection_results
from distillvlm.modeling.detector import Detector, DetectorConfig
from distillvlm.structures.regions import Regions
from distillvlm.tasks.detection import DetectionBatches, DetectionTask


@dataclass(frozen=True)
class DetectorRecipe:
    """A detector but for its labels, and how it is trained.

    grid and what follows: what it says of a photo (see `DetectorConfig`).
    """

    backbone: str
    pretrained: str | None
    image_size: tuple[int, int]
    pyramid_channels: int
    head_size: int
    steps: int
    batch_size: int
    learning_rate: float
    anchor_scales: tuple[float, ...]
    anchor_ratios: tuple[float, ...] = DetectorConfig.anchor_ratios
    grid: int = DetectorConfig.grid
    num_regions: int = DetectorConfig.num_regions
    num_tags: int = DetectorConfig.num_tags
    score_threshold: float = DetectorConfig.score_threshold
    detection_iou: float = DetectorConfig.detection_iou
    pool_backbone: bool = DetectorConfig.pool_backbone

    def config(self, labels: tuple[str, ...], attributes: tuple[str, ...]) -> DetectorConfig:
        """What the recipe says of the detector itself; the rest is the config's default."""
        shared = {field.name for field in fields(self)} & {field.name for field in fields(DetectorConfig)}
        return DetectorConfig(labels, attributes, **{name: getattr(self, name) for name in shared})

    @property
    def about(self) -> str:
        return f"{self.backbone} at {self.image_size[0]} px, {self.steps} steps of {self.batch_size}"


def train_detector(
    config: DetectorConfig,
    records: Sequence[Record],
    schedule: Schedule,
    batch_size: int,
    folder: Path,
    seed: int,
    keep_pixels: bool = True,
) -> None:
    """Trains on the boxes of the records, or continues; `load_detector` brings what it leaves in its folder.

    keep_pixels: holds every decoded photo in memory, which a large data set does not fit in.
    """
    torch.manual_seed(seed)
    task = DetectionTask(Detector(config))
    batches = DetectionBatches(records, config, batch_size, seed, keep_pixels=keep_pixels)
    train(task, batches, schedule, folder, seed)


def load_detector(config: DetectorConfig, folder: Path) -> Detector:
    detector = Detector(config)
    load_trained(detector, folder)
    return detector


def with_weights_of(trained: Detector, larger: Detector, is_new: Callable[[str], bool]) -> Detector:
    """A detector that has parts which the trained one has not, with the weights of that.

    is_new: whether a tensor of this name may be missing from the trained one.
    Raises:
        ValueError: the two differ in other tensors; names them.
    """
    missing, unexpected = larger.load_state_dict(trained.state_dict(), strict=False)
    strangers = [*unexpected, *(name for name in missing if not is_new(name))]
    if strangers:
        raise ValueError(f"detector: expected the trained one's tensors but {strangers} differ")
    return larger.eval()


def own_regions(
    detector: Detector, records: Sequence[Record], folder: Path, views: int, label: str, bf16: bool = True
) -> RegionStore:
    """Regions at the detector's own boxes.

    bf16: twice as fast, and not quite what a server sees that computes in float32.
    """

    device = ready(detector)

    @torch.inference_mode()
    def describe(pixels_BHW3: Tensor, _: Sequence[Record], __: int) -> Regions:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return detector(pixels_BHW3.to(device))

    key = store_key(weights_checksum(detector), str(detector.config))
    return extract_regions(describe, records, detector.config.image_size, folder, key, views, label=label)


def regions_at_boxes_of(
    detector: Detector, student: RegionStore, records: Sequence[Record], folder: Path, label: str
) -> RegionStore:
    """Teacher adaptation's inputs: this detector's features at the student's boxes, with the student's tags.

    Source: Fang et al. 2021, arXiv:2104.02096, section 3.2.
    """

    device = ready(detector)

    @torch.inference_mode()
    def describe(pixels_BHW3: Tensor, chosen: Sequence[Record], view: int) -> Regions:
        given = student.regions([record.photo_id for record in chosen], [view] * len(chosen)).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            features = detector.features_at(pixels_BHW3.to(device), given.boxes, given.valid)
        return replace(given, features=features)

    key = store_key(weights_checksum(detector), str(detector.config), "boxes of " + student.key)
    return extract_regions(describe, records, detector.config.image_size, folder, key, student.views, label=label)


def average_precision(
    store: RegionStore, records: Sequence[Record], labels: Sequence[str], folder: Path
) -> dict[str, object]:
    """COCO's AP of what a captioner sees: the regions that a store holds of the records that have boxes.

    By data set, and apart where a program made the boxes ("<data set>-pseudo"): that is agreement with it. Writes both
    of COCO's files for each, `<name>-detections.json` and `<name>-instances.json`, whose categories are places in
    `labels`. It is no more than a lower bound of what the detector itself could reach: grid cells take their share of
    a photo's regions and name nothing, what scores below its threshold is not among them, and what finds a crowd, which
    records leave out, counts as wrong.
    """
    facts: dict[str, object] = {}
    for source, group in by_source(record for record in records if record.objects).items():
        by_people = [all(box.score == 1 for box in record.objects) for record in group]
        for name, wanted in ((source, True), (f"{source}-pseudo", False)):
            chosen = [record for record, own in zip(group, by_people, strict=True) if own == wanted]
            if chosen:
                instances = ground_truth_of(chosen, labels)
                found = detections_of(chosen, store.regions([record.photo_id for record in chosen]))
                (folder / f"{name}-instances.json").write_text(json.dumps(instances) + "\n")
                write_detection_results(folder / f"{name}-detections.json", found)
                facts[name] = {"photos": len(chosen), **evaluate_detections(instances, found).report()}
    return facts


def ready(detector: Detector) -> torch.device:
    """Puts the detector where it runs fastest."""
    device = fastest_device()
    detector.to(device)
    return device
