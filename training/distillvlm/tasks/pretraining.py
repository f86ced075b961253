"""Pre-training: masked words and tags, and whether a text belongs to its photo (OSCAR, in the dense layout)."""

# Shapes: B photos, P prefix length, S places of tag tokens (the first of the prefix), T text tokens.
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from distillvlm.data.pretraining_batches import PretrainingBatch
from distillvlm.losses.classification import caption_loss, masked_token_loss, match_loss
from distillvlm.modeling.layouts import QuestionAttention, dense_sequences
from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel
from distillvlm.structures.regions import Regions
from distillvlm.tasks.language import run_captions, run_questions, supervised_words
from distillvlm.tasks.objective import Outputs, TextOutputs
from distillvlm.tasks.sequences import run_sequences


class PretrainingObjective:
    """`caption`: every word of a caption from the words before it; `masked`: masked tags, and masked words of the
    matched texts seen from both sides; `match`: matched or polluted, on pooled [CLS]. Masked tokens count on matched
    pairs only, and words of polluted texts, which may be another photo's own, are no negatives of hidden states.
    Questions and other texts have no `caption` loss: they are read, not learnt as captions.

    question_attention: of what the fine-tuning behind it asks (`LanguageObjective`); matched and polluted texts are
    read in the same way. Masked tags see no text in either.

    Source: Li et al. 2020, arXiv:2004.06165, section 3.1.
    """

    def __init__(self, question_attention: QuestionAttention = "prefix") -> None:
        self.question_attention = question_attention

    def run(self, model: VisionLanguageModel, regions: Regions | None, batch: PretrainingBatch) -> Outputs:
        if regions is None:
            raise ValueError("pre-training: expected regions")
        prefix = model.encode_prefix(regions, batch.tag_tokens)
        said = run_captions(model, prefix, batch.texts) if batch.texts.kind == "captions" else None
        match = self._run_match(model, prefix, regions, batch)
        match = replace(match, words=match.words & batch.matched[:, None, None])
        tags_MD = prefix.hidden[:, : batch.tag_targets.shape[1]][batch.tag_targets != 0]
        words_MD = match.states.hidden[:, :, : batch.match_targets.shape[2]][batch.match_targets != 0]
        logits = {
            "masked_tags": model.word_logits(tags_MD).float(),
            "masked_words": model.word_logits(words_MD).float(),
            "match": model.match_logits(model.pool(match.states)[:, 0]).float(),
        }
        if said is None:
            return Outputs(prefix, (match,), logits)
        words = supervised_words(model, said.states, batch.texts)
        return Outputs(prefix, (said, match), {"caption": words, **logits})

    def _run_match(
        self, model: VisionLanguageModel, prefix: Prefix, regions: Regions, batch: PretrainingBatch
    ) -> TextOutputs:
        valid_B1 = torch.ones_like(batch.matched)[:, None]
        if self.question_attention == "prefix":
            return run_questions(model, prefix, batch.match_tokens, valid_B1)
        return run_sequences(model, dense_sequences(batch.match_tokens, batch.tag_tokens), regions, valid_B1)

    def losses(self, model: VisionLanguageModel, outputs: Outputs, batch: PretrainingBatch) -> dict[str, Tensor]:
        tags_M = batch.tag_targets[batch.tag_targets != 0]
        masked_M = batch.match_targets[batch.match_targets != 0]
        losses = {
            "masked_tags": masked_token_loss(outputs.logits["masked_tags"], tags_M),
            "masked_words": masked_token_loss(outputs.logits["masked_words"], masked_M),
            "match": match_loss(outputs.logits["match"], batch.matched),
        }
        if batch.texts.kind != "captions":
            return losses
        words_M = batch.texts.targets[batch.texts.targets != 0]
        return {"caption": caption_loss(outputs.logits["caption"], words_M, model.caption_mask, 0.0), **losses}
