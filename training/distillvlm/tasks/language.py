"""Captioning and question answering: one pass of a model over a batch of the dense layout, and its losses."""

# Shapes: B photos, N texts of a photo, T text tokens, P prefix length, D hidden size, V vocabulary, A answers.
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from distillvlm.data.text_batches import TextBatch
from distillvlm.engine.trainer import Task
from distillvlm.losses.classification import answer_loss, caption_loss
from distillvlm.modeling.vision_language import Prefix, TextStates, VisionLanguageModel
from distillvlm.structures.regions import Regions


@dataclass(frozen=True)
class Outputs:
    """What a model makes of a batch.

    logits: captions [M, V], one row for each word that has a target, in the order of `batch.targets != 0`;
        questions [M, A], one row for each valid question, in the order of `batch.valid`.
    """

    prefix: Prefix
    text: TextStates
    logits: Tensor


def run(model: VisionLanguageModel, regions: Regions | None, batch: TextBatch) -> Outputs:
    """One forward pass; logits only where there is a target."""
    prefix = model.no_prefix(len(batch.tokens)) if regions is None else model.encode_prefix(regions)
    if batch.kind == "captions":
        text = model.encode_captions(prefix, batch.tokens)
        queries_BNTD = text.hidden[:, :, batch.tokens.shape[-1] :]
        return Outputs(prefix, text, model.caption_logits(queries_BNTD[batch.targets != 0]))
    text = model.encode_questions(prefix, batch.tokens)
    return Outputs(prefix, text, model.answer_logits(model.pool(text)[batch.valid]).float())


def task_loss(
    outputs: Outputs, batch: TextBatch, label_smoothing: float, model: VisionLanguageModel
) -> dict[str, Tensor]:
    """The loss against people's words: `caption` or `answer`."""
    if batch.kind == "captions":
        words_M = batch.targets[batch.targets != 0]
        return {"caption": caption_loss(outputs.logits, words_M, model.caption_mask, label_smoothing)}
    return {"answer": answer_loss(outputs.logits, batch.targets[batch.valid])}


class LanguageTask(Task):
    """Captions and questions learnt by one model; `blind` hides photos and tags (the blind baseline)."""

    def __init__(
        self, model: VisionLanguageModel, label_smoothing: float, loss_weights: dict[str, float], blind: bool = False
    ) -> None:
        super().__init__()
        self.trained: nn.Module = model
        self.model = model
        self.label_smoothing = label_smoothing
        self.loss_weights = loss_weights
        self.blind = blind

    def forward(self, batch: TextBatch) -> dict[str, Tensor]:
        batch = batch.to(self.model.word_bias.device)
        outputs = run(self.model, None if self.blind else batch.regions, batch)
        return task_loss(outputs, batch, self.label_smoothing, self.model)
