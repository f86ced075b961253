"""Soft targets of a recipe: each photo's texts by a teacher that has not seen the photo."""

# Shapes: B photos, N texts of a photo, T places of a caption, K likeliest, Y texts of a part.
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from distillvlm.data.region_store import RegionStore
from distillvlm.data.soft_targets import Likeliest, SoftTargets, write_soft_targets
from distillvlm.data.text_batches import TextBatches, TextPool
from distillvlm.data.words import Words
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.tasks.language import LanguageObjective

PHOTOS_OF_PART = 32
# 24 pieces of 5,761 held 0.81 to 0.84 of the probability in a captioner that had learnt with label smoothing of 0.1
# (`photos` 1.1.0): smoothing alone spreads a tenth over all of them. What is left counts as one in the loss.
LIKELIEST = {"captions": 24, "questions": 12}


def soft_targets_of(
    teachers: Sequence[VisionLanguageModel],
    teacher_of_photo: Sequence[int],
    pool: TextPool,
    words: Words,
    store: RegionStore,
    folder: Path,
) -> SoftTargets:
    """Asks the teachers, in every view of the store, for every text of the pool.

    teacher_of_photo: which teacher, for each photo of the pool.
    """
    most = max(len(texts) for texts in pool.texts)
    batches = TextBatches(pool, words.tokenizer, len(words.answers), 1, most, seed=0, store=store)
    kept = min(LIKELIEST[pool.kind], len(words.vocabulary if pool.kind == "captions" else words.answers))
    places = max(len(text) for texts in pool.texts for text in texts) - 1
    shape = (store.views, pool.size, *([places] if pool.kind == "captions" else []), kept)
    chunks = [
        (teacher, view, rows)
        for teacher in range(len(teachers))
        for view in range(store.views)
        for rows in _chunks(np.flatnonzero(np.asarray(teacher_of_photo) == teacher))
    ]

    def parts() -> Iterator[tuple[int, np.ndarray, Likeliest]]:
        for teacher, view, rows in chunks:
            numbers, found = _ask(teachers[teacher], batches, rows, view, kept)
            yield view, numbers, found

    return write_soft_targets(parts(), len(chunks), shape, folder)


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + PHOTOS_OF_PART] for start in range(0, len(rows), PHOTOS_OF_PART)]


@torch.no_grad()
def _ask(
    teacher: VisionLanguageModel, batches: TextBatches, rows: np.ndarray, view: int, kept: int
) -> tuple[np.ndarray, Likeliest]:
    """Numbers [Y] of the photos' texts in the pool, and what the teacher finds likely there."""
    teacher.eval()
    device = teacher.word_bias.device
    chosen = [range(len(batches.pool.texts[row])) for row in rows]
    batch = batches.collate(rows, np.full(len(rows), view), chosen).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        outputs = LanguageObjective().run(teacher, batch.regions, batch)
    if batch.kind == "captions":
        found = outputs.logits["caption"].float().softmax(-1).topk(kept)
        present = batch.targets != 0
    else:
        found = outputs.logits["answer"].float().sigmoid().topk(kept)
        present = batch.valid
    numbers = batches.text_numbers(rows, chosen, batch.valid.shape[1])
    valid = batch.valid
    likeliest = Likeliest(_placed(found.indices, present)[valid], _placed(found.values, present)[valid])
    return numbers[valid.cpu().numpy()], likeliest


def _placed(rows_MK: Tensor, present: Tensor) -> Tensor:
    """[..., K] with the rows where `present`, 0 elsewhere."""
    placed = rows_MK.new_zeros(*present.shape, rows_MK.shape[-1])
    placed[present] = rows_MK
    return placed
