"""The concept heads of a recipe: trained on all photos and without each fold, run over a store, given to a detector."""

# Shapes: n photos, V views, G tags, W concept words.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distillvlm.data.concepts import concept_shares
from distillvlm.data.confusion import Confusion, measure_confusion
from distillvlm.data.folds import fold_of
from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore, save_tags
from distillvlm.engine.checkpoint import load_trained
from distillvlm.engine.progress import recent_means
from distillvlm.engine.trainer import Schedule, Training, train_together
from distillvlm.evaluation.tags import mean_average_precision, tag_scores
from distillvlm.modeling.detector import ConceptHead, ConceptTagger, ConceptTags, Detector
from distillvlm.recipes.detectors import ready
from distillvlm.tasks.concepts import ConceptBatches, ConceptTask

PHOTOS_AT_ONCE = 64
ALL = "all"  # folder of the head that has learnt from every photo


@dataclass(frozen=True)
class ConceptRecipe:
    """How concept heads are trained.

    folds: heads that leave a part of the photos out; `threshold`: see `ConceptTags`. steps: of `batch_size` photos,
    those that a head leaves out counted in.
    """

    steps: int = 1400
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    dropout: float = 0.2
    hidden_size: int = 256
    threshold: float = 0.5
    folds: int = 4
    ema_decay: float = 0.995

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"Expected at least 2 folds but received {self.folds}")

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.learning_rate, weight_decay=self.weight_decay, ema_decay=self.ema_decay)


class ConceptHeads:
    """The heads of one detector, each in its folder: `ALL`, and "without-0" for the one that leaves fold 0 out.

    tags: words and what is known of them, for a detector.
    """

    def __init__(
        self, detector: Detector, words: Sequence[str], photos: Sequence[Record], recipe: ConceptRecipe, folder: Path
    ) -> None:
        """photos: the captioned training photos. folder: of the stage that trains the heads."""
        self.detector, self.recipe, self.folder = detector, recipe, folder
        self.photo_ids = [record.photo_id for record in photos]
        self.folds = np.array([fold_of(photo_id, recipe.folds) for photo_id in self.photo_ids])
        self.shares = concept_shares([record.captions for record in photos], words)
        prior = torch.from_numpy(self.shares.mean(0))
        self.tags = ConceptTags(tuple(words), prior, recipe.threshold, recipe.hidden_size)

    @property
    def left_out(self) -> dict[str, int | None]:
        """The fold that each head has not seen, by the head's name; None for the one that has seen all."""
        return {ALL: None, **{f"without-{fold}": fold for fold in range(self.recipe.folds)}}

    def train(self, store: RegionStore, seed: int) -> dict[str, object]:
        """Trains all heads in lock-step, or continues; returns their last losses, each on its own photos."""
        ready(self.detector)
        batches = ConceptBatches(store, self.photo_ids, self.shares, self.folds, self.recipe.batch_size, seed)
        trainings = [
            Training(
                ConceptTask(self._new_head(store, left_out, seed), self.detector.classes_of, left_out),
                self.recipe.schedule,
                self.folder / name,
                seed,
            )
            for name, left_out in self.left_out.items()
        ]
        histories = train_together(trainings, batches)
        return {name: recent_means(history) for name, history in zip(self.left_out, histories, strict=True)}

    def head(self, name: str = ALL) -> ConceptHead:
        """A trained head."""
        head = self.detector.new_concept_head(len(self.tags.words), self.recipe.hidden_size)
        load_trained(head, self.folder / name)
        return head

    def write_tags(self, store: RegionStore, path: Path) -> None:
        """Tags of every photo and view of the store (see `save_tags`): of training photos by the head that has not seen
        them, of others by the one that has seen all."""
        fold_of_photo = dict(zip(self.photo_ids, self.folds.tolist(), strict=True))
        tags_nVG = np.full((len(store.photo_ids), store.views, self.detector.config.num_tags), -1)
        for name, left_out in self.left_out.items():
            rows = [row for row, photo_id in enumerate(store.photo_ids) if fold_of_photo.get(photo_id) == left_out]
            photo_ids = [store.photo_ids[row] for row in rows]
            tagger = self._tagger(name)
            for view in range(store.views):
                weights_nW = self._weigh(tagger, store, photo_ids, view)
                tags_nVG[rows, view] = tagger.best(weights_nW).numpy()
        save_tags(path, store.photo_ids, tags_nVG)

    def confusion(self, store: RegionStore) -> Confusion:
        """How the tags of a store, written by `write_tags`, err on the training photos."""
        tags_nVG = np.asarray(store.arrays["tags"])[[store.row_of[photo_id] for photo_id in self.photo_ids]]
        return measure_confusion(tags_nVG, self.shares, self.tags.words)

    def detector_with_tags(self) -> Detector:
        """The detector with the head that has seen all photos as its tagger."""
        return with_concept_head(self.detector, self.tags, self.head())

    def report(self, store: RegionStore, records: Sequence[Record]) -> dict[str, float]:
        """Figures of the head that has seen all training photos, on captioned photos of another split."""
        tagger = self._tagger(ALL)
        weights_nW = self._weigh(tagger, store, [record.photo_id for record in records])
        said_nW = concept_shares([record.captions for record in records], self.tags.words) > 0
        precision = mean_average_precision(weights_nW.numpy(), said_nW)
        return {"mean average precision": precision, **tag_scores(tagger.best(weights_nW).numpy(), said_nW)}

    def _new_head(self, store: RegionStore, left_out: int | None, seed: int) -> ConceptHead:
        torch.manual_seed(seed)
        head = self.detector.new_concept_head(len(self.tags.words), self.recipe.hidden_size, self.recipe.dropout)
        head.standardise(*store.feature_statistics(self.photo_ids))
        prior = self.shares[slice(None) if left_out is None else self.folds != left_out].mean(0)
        head.start_at(torch.from_numpy(prior), self.detector.config.num_regions)
        return head

    def _tagger(self, name: str) -> ConceptTagger:
        return ConceptTagger(self.head(name), self.tags, self.detector.config.num_tags).eval()

    @torch.inference_mode()
    def _weigh(self, tagger: ConceptTagger, store: RegionStore, photo_ids: Sequence[str], view: int = 0) -> Tensor:
        """`ConceptTagger.weigh` of the photos, float32 [n, W]."""
        device = ready(self.detector)
        tagger.to(device)
        weights = [torch.zeros(0, len(self.tags.words))]
        for start in range(0, len(photo_ids), PHOTOS_AT_ONCE):
            chosen = photo_ids[start : start + PHOTOS_AT_ONCE]
            regions = store.regions(chosen, [view] * len(chosen)).to(device)
            weights.append(tagger.weigh(regions, self.detector.classes_of(regions)).cpu())
        return torch.cat(weights)


def with_concept_head(detector: Detector, tags: ConceptTags, head: ConceptHead) -> Detector:
    """The same detector with a concept head that names its tags."""
    tagged = Detector(detector.config, tags)
    state = {name: value for name, value in detector.state_dict().items() if not name.startswith("tagger.")}
    state |= {f"tagger.head.{name}": value for name, value in head.state_dict().items()}
    tagged.load_state_dict({**state, "tagger.prior": tags.prior})
    return tagged.eval()
