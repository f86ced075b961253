"""Distillation: the student learns from people's words and from what the frozen teacher makes of the same batch."""

# Shapes: B photos, H heads, N texts of a photo, T text tokens, P prefix length, Q queries, K keys.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distillvlm.engine.trainer import Task
from distillvlm.losses.attention import attention_loss
from distillvlm.losses.classification import answer_distillation, word_distillation
from distillvlm.losses.hidden import HiddenStateLoss
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.tasks.objective import Objective, Outputs, before_last_layer


@dataclass(frozen=True)
class DistillationSettings:
    """Which losses, and how strong; a weight of 0 switches one off.

    queue_size: 4096 was the paper's best. temperature: of the words' distribution (and of the NCE: 0.07).
    classification: 0 in pre-training (the paper uses it in fine-tuning only).
    """

    attention: float = 1.0
    hidden: float = 1.0
    classification: float = 1.0
    queue_size: int = 4096
    temperature: float = 1.0


class DistillationTask(Task):
    """Runs teacher and student on one batch: same boxes, same tags, same masked tokens, own features.

    The teacher is no submodule: it is in eval mode for good, has no gradient and is not saved with the student.
    """

    def __init__(
        self,
        student: VisionLanguageModel,
        teacher: VisionLanguageModel,
        objective: Objective,
        settings: DistillationSettings,
    ) -> None:
        super().__init__()
        if student.config.num_heads != teacher.config.num_heads:
            raise ValueError(
                f"distillation: expected as many heads in student and teacher but they have "
                f"{student.config.num_heads} and {teacher.config.num_heads}"
            )
        self.trained = student
        self.student = student
        self.frozen = (teacher.eval().requires_grad_(False),)
        self.objective, self.settings = objective, settings
        self.hidden_loss = HiddenStateLoss(student.config.hidden_size, teacher.config.hidden_size, settings.queue_size)
        self.loss_weights = {
            "attention": settings.attention,
            "hidden": settings.hidden,
            "classification": settings.classification,
        }

    @property
    def teacher(self) -> VisionLanguageModel:
        return self.frozen[0]

    def forward(self, batch: Any) -> dict[str, Tensor]:
        device = self.student.word_bias.device
        batch = batch.to(device)
        with torch.no_grad():
            theirs = self.objective.run(self.teacher.to(device), batch.teacher_regions, batch)
        ours = self.objective.run(self.student, batch.regions, batch)
        losses = self.objective.losses(self.student, ours, batch)
        if self.settings.attention:
            losses["attention"] = distil_attention(ours, theirs)
        if self.settings.hidden:
            losses["hidden"] = self._distil_hidden(ours, theirs, batch)
        if self.settings.classification:
            losses["classification"] = distil_classification(ours, theirs, self.settings.temperature)
        return losses

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
        return self.hidden_loss(student, teacher, valid, negatives, batch.photos)


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
