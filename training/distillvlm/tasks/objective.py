"""What a model makes of a batch, and the task that trains it alone."""

# Shapes: B photos, N texts of a photo, T tokens of a text (with its queries), M supervised places.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from distillvlm.engine.trainer import Task
from distillvlm.modeling.vision_language import Prefix, TextStates, VisionLanguageModel
from distillvlm.structures.regions import Regions


@dataclass(frozen=True)
class TextOutputs:
    """One kind of text of a batch after the last layer.

    states: hidden [B, N, T, D], attention [B, H, N, T, P + T].
    valid: bool [B, N, T], tokens that a distillation loss compares.
    words: bool [B, N, T], those among them whose teacher states may serve as negatives (no special tokens).
    beside: so many tokens at the end are tags and regions, where these see the text and are no prefix.
    """

    states: TextStates
    valid: Tensor
    words: Tensor
    beside: int = 0


@dataclass(frozen=True)
class Outputs:
    """logits: by name of the loss they belong to, [M, classes], rows only where there is a target."""

    prefix: Prefix
    texts: tuple[TextOutputs, ...]
    logits: dict[str, Tensor]


def texts_alone(outputs: Outputs) -> Outputs:
    """The same, with no tag and no region among what a distillation loss compares."""
    texts = []
    for text in outputs.texts:
        is_text_T = torch.arange(text.valid.shape[-1], device=text.valid.device) < text.valid.shape[-1] - text.beside
        texts.append(replace(text, valid=text.valid & is_text_T, words=text.words & is_text_T))
    prefix = replace(outputs.prefix, mask=torch.zeros_like(outputs.prefix.mask))
    return replace(outputs, prefix=prefix, texts=tuple(texts))


class Objective(Protocol):
    """How one kind of training reads a batch. Teacher and student run the same objective on the same batch."""

    def run(self, model: VisionLanguageModel, regions: Regions | None, batch: Any) -> Outputs: ...

    def losses(self, model: VisionLanguageModel, outputs: Outputs, batch: Any) -> dict[str, Tensor]:
        """Losses against people's words, by name."""
        ...


class ObjectiveTask(Task):
    """A model trained on an objective without a teacher; `blind` hides photos and tags (the blind baseline)."""

    def __init__(
        self,
        model: VisionLanguageModel,
        objective: Objective,
        loss_weights: dict[str, float] | None = None,
        blind: bool = False,
    ) -> None:
        super().__init__()
        self.trained = model
        self.model = model
        self.objective = objective
        self.loss_weights = loss_weights or {}
        self.blind = blind

    def forward(self, batch: Any) -> dict[str, Tensor]:
        batch = batch.to(self.model.word_bias.device)
        outputs = self.objective.run(self.model, None if self.blind else batch.regions, batch)
        return self.objective.losses(self.model, outputs, batch)

    def before_last_layer(self) -> Sequence[nn.Module]:
        return before_last_layer(self.model)


def before_last_layer(model: VisionLanguageModel) -> Sequence[nn.Module]:
    """The modules whose outputs are the last layer's input, of prefix and texts."""
    if model.config.num_layers == 1:
        return [model.embedding_norm, model.region_norm]
    return [model.encoder_layers[-2].output_norm]
