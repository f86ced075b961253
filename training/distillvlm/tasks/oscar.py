"""Pre-training and fine-tuning in OSCAR's layout: one sequence of text, tags and regions for each text."""

# Shapes: B photos, N texts of a photo, T text tokens, C tag tokens, S tokens of a sequence.
from __future__ import annotations

from torch import Tensor

from distillvlm.data.oscar_batches import OscarBatch
from distillvlm.losses.classification import answer_loss, caption_loss, masked_token_loss, match_loss
from distillvlm.modeling.layouts import OscarLayout
from distillvlm.modeling.vision_language import TextStates, VisionLanguageModel
from distillvlm.structures.regions import Regions
from distillvlm.tasks.objective import Outputs
from distillvlm.tasks.sequences import run_sequences


class OscarObjective:
    """`caption`: masked words of captions; `answer`: as in `LanguageObjective`; in pre-training `masked`, of text and
    tags, and `match`, whether the tags are the photo's, on pooled [CLS].

    Source: Li et al. 2020, arXiv:2004.06165, sections 3.1 and 4.
    """

    def __init__(self, layout: OscarLayout | None = None, label_smoothing: float = 0.1) -> None:
        self.layout, self.label_smoothing = layout or OscarLayout(), label_smoothing

    def run(self, model: VisionLanguageModel, regions: Regions | None, batch: OscarBatch) -> Outputs:
        if regions is None:
            raise ValueError("OSCAR's layout: expected regions")
        captions = batch.kind == "captions"
        sequences = self.layout.sequences(batch.text, batch.tags, model.lexicon.pad, captions)
        text = run_sequences(model, sequences, regions, batch.valid)
        return Outputs(model.no_prefix(len(batch.text)), (text,), _logits(model, text.states, batch))

    def losses(self, model: VisionLanguageModel, outputs: Outputs, batch: OscarBatch) -> dict[str, Tensor]:
        masked_M, logits = batch.targets[batch.targets != 0], outputs.logits
        if batch.kind == "captions":
            return {"caption": caption_loss(logits["caption"], masked_M, model.caption_mask, self.label_smoothing)}
        if batch.kind == "questions":
            return {"answer": answer_loss(logits["answer"], batch.answers[batch.valid])}
        return {
            "masked": masked_token_loss(logits["masked"], masked_M),
            "match": match_loss(logits["match"], batch.matched[batch.valid]),
        }


def _logits(model: VisionLanguageModel, states: TextStates, batch: OscarBatch) -> dict[str, Tensor]:
    masked_MD = states.hidden[:, :, : batch.targets.shape[-1]][batch.targets != 0]
    if batch.kind == "captions":
        return {"caption": model.caption_logits(masked_MD)}
    pooled_MD = model.pool(states)[batch.valid]
    if batch.kind == "questions":
        return {"answer": model.answer_logits(pooled_MD).float()}
    return {"masked": model.word_logits(masked_MD).float(), "match": model.match_logits(pooled_MD).float()}
