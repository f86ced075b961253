"""Distillation: the student learns from people's words and from what the frozen teacher makes of the same batch."""

# Shapes: B photos, H heads, N texts of a photo, T text tokens, P prefix length, Q queries, K keys.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from distillvlm.engine.trainer import Task
from distillvlm.losses.attention import attention_loss
from distillvlm.losses.classification import (
    answer_distillation,
    likeliest_answers_distillation,
    likeliest_words_distillation,
    word_distillation,
)
from distillvlm.losses.hidden import HiddenStateError, HiddenStateLoss
from distillvlm.modeling.encoded_once import EncodedOnce
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.tasks.objective import Objective, Outputs, before_last_layer, texts_alone


@dataclass(frozen=True)
class DistillationSettings:
    """Which losses, and how strong; a weight of 0 switches one off.

    classification: 0 in pre-training (the paper uses it in fine-tuning only). queue_size: 4096 was the paper's best.
    temperature: of the words' distribution, of a teacher at hand; what one has said beforehand is as it said it.
    The rest are the paper's ablations. squared_error: in place of the NCE. pooled: hidden states are compared as one
    mean a photo, not token by token. texts_only: tags and regions are not compared.
    """

    attention: float = 1.0
    hidden: float = 1.0
    classification: float = 1.0
    queue_size: int = 4096
    temperature: float = 1.0
    squared_error: bool = False
    pooled: bool = False
    texts_only: bool = False


class FrozenTeacher:
    """A teacher in eval mode for good, without gradients, that runs an objective.

    What it makes of the latest batch is kept: students in lock-step (see `train_together`) pay for it once.
    known: what the same model makes of each photo and text, kept in memory where no token is masked.
    """

    def __init__(self, model: VisionLanguageModel, objective: Objective, known: EncodedOnce | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self._encoder = cast(VisionLanguageModel, known) if known else self.model
        self.objective = objective
        self._latest: tuple[object, Outputs] | None = None

    @torch.no_grad()
    def outputs(self, batch: Any, device: torch.device) -> Outputs:
        """On the batch's `teacher_regions`."""
        if self._latest is None or self._latest[0] is not batch:
            self._latest = None  # makes room before the next is made
            moved = batch.to(device)
            self.model.to(device)
            self._latest = batch, self.objective.run(self._encoder, moved.teacher_regions, moved)
        return self._latest[1]


class DistillationTask(Task):
    """Runs teacher and student on one batch: same boxes, same tags, same masked tokens, own features.

    The teacher is no submodule: it is not saved with the student.
    """

    def __init__(self, student: VisionLanguageModel, teacher: FrozenTeacher, settings: DistillationSettings) -> None:
        super().__init__()
        heads, theirs = student.config.num_heads, teacher.model.config.num_heads
        if heads != theirs:
            raise ValueError(
                f"distillation: expected as many heads in student and teacher but they have {heads} and {theirs}"
            )
        self.trained = student
        self.student = student
        self.teacher, self.objective, self.settings = teacher, teacher.objective, settings
        sizes = (student.config.hidden_size, teacher.model.config.hidden_size)
        self.hidden_loss: HiddenStateLoss | HiddenStateError = (
            HiddenStateError(*sizes) if settings.squared_error else HiddenStateLoss(*sizes, settings.queue_size)
        )
        self.loss_weights = {
            "attention": settings.attention,
            "hidden": settings.hidden,
            "classification": settings.classification,
        }

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """
        Raises:
            ValueError: the batch brings soft targets, and the settings a temperature for them; or it is one of
                pre-training, and the settings want classification.
        """
        device = self.student.word_bias.device
        theirs = self.teacher.outputs(batch, device)
        batch = batch.to(device)
        ours = self.objective.run(self.student, batch.regions, batch)
        losses = self.objective.losses(self.student, ours, batch)
        compared = texts_alone(ours) if self.settings.texts_only else ours
        if self.settings.attention:
            losses["attention"] = distil_attention(compared, theirs)
        if self.settings.hidden:
            losses["hidden"] = self._distil_hidden(compared, theirs, batch)
        if self.settings.classification:
            losses["classification"] = self._distil_classification(ours, theirs, batch)
        return losses

    def _distil_classification(self, ours: Outputs, theirs: Outputs, batch: Any) -> Tensor:
        """From what a teacher said beforehand, where the batch brings that; else from the teacher at hand."""
        if "match" in ours.logits:
            raise ValueError(
                f"distillation: pre-training wants classification 0, as the paper, not {self.settings.classification}"
            )
        if batch.soft is None:
            return distil_classification(ours, theirs, self.settings.temperature)
        if self.settings.temperature != 1:
            raise ValueError(f"distillation: soft targets want temperature 1 but it is {self.settings.temperature}")
        if "answer" in ours.logits:
            soft = batch.soft[batch.valid]
            return likeliest_answers_distillation(ours.logits["answer"], soft.ids, soft.probabilities)
        soft = batch.soft[batch.targets != 0]
        return likeliest_words_distillation(ours.logits["caption"], soft.ids, soft.probabilities)

    def measurements(self) -> dict[str, float]:
        return {f"hidden_{name}": value for name, value in self.hidden_loss.measurements.items()}

    def before_last_layer(self) -> Sequence[nn.Module]:
        return before_last_layer(self.student)

    def _distil_hidden(self, ours: Outputs, theirs: Outputs, batch: Any) -> Tensor:
        """All tokens of prefix and texts in one row for each photo; regions and words may become negatives, tags
        (the same few words in many photos) may not."""
        student = torch.cat([ours.prefix.hidden, *(text.states.hidden.flatten(1, 2) for text in ours.texts)], dim=1)
        teacher = torch.cat([theirs.prefix.hidden, *(text.states.hidden.flatten(1, 2) for text in theirs.texts)], dim=1)
        valid = torch.cat([ours.prefix.mask, *(text.valid.flatten(1, 2) for text in ours.texts)], dim=1)
        regions = ours.prefix.mask.clone()
        regions[:, : regions.shape[1] - (0 if batch.regions is None else batch.regions.valid.shape[1])] = False
        negatives = torch.cat([regions, *(text.words.flatten(1, 2) for text in ours.texts)], dim=1)
        if self.settings.pooled:
            student, teacher = mean_of(student, valid), mean_of(teacher, valid)
            valid = negatives = valid.any(dim=1, keepdim=True)
        return self.hidden_loss(student, teacher, valid, negatives, batch.photos)


def mean_of(hidden_BTD: Tensor, valid_BT: Tensor) -> Tensor:
    """The mean over a photo's valid tokens: [B, 1, D]."""
    weights_BT1 = valid_BT[..., None].to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT1).sum(1, keepdim=True) / weights_BT1.sum(1, keepdim=True).clamp(min=1)


def distil_attention(ours: Outputs, theirs: Outputs) -> Tensor:
    """Mean over all valid queries of prefix and texts of the last layer's attention loss."""
    maps = [(ours.prefix.attention, theirs.prefix.attention, ours.prefix.mask)]
    for mine, other in zip(ours.texts, theirs.texts, strict=True):
        pair = (mine.states.attention.flatten(2, 3), other.states.attention.flatten(2, 3))
        maps.append((*pair, mine.valid.flatten(1, 2)))
    return attention_loss(*maps)


def distil_classification(ours: Outputs, theirs: Outputs, temperature: float) -> Tensor:
    """Words: softened KL; answers: cross-entropy with the teacher's sigmoids. One of them is in a batch."""
    if "answer" in ours.logits:
        return answer_distillation(ours.logits["answer"], theirs.logits["answer"])
    return word_distillation(ours.logits["caption"], theirs.logits["caption"], temperature)
