"""Fine-tuning: captions and questions, learnt by one model from batches of either kind."""

# Shapes: B photos, N texts of a photo, T text tokens.
from __future__ import annotations

import torch
from torch import Tensor

from distillvlm.data.text_batches import TextBatch
from distillvlm.losses.classification import answer_loss, caption_loss
from distillvlm.modeling.layouts import QuestionAttention, dense_sequences
from distillvlm.modeling.vision_language import Prefix, TextStates, VisionLanguageModel
from distillvlm.structures.regions import Regions
from distillvlm.tasks.objective import Outputs, TextOutputs
from distillvlm.tasks.sequences import run_sequences


class LanguageObjective:
    """Captioning (each word against the words before it) and question answering (soft scores).

    `answer` is binary cross-entropy summed over answers, mean over questions (OSCAR's scale).
    question_attention: tags and regions see each other only ("prefix"), or a question too ("full"), which costs a pass
    over them for each question; a model is asked in the way it has learnt.
    """

    def __init__(self, label_smoothing: float = 0.1, question_attention: QuestionAttention = "prefix") -> None:
        self.label_smoothing, self.question_attention = label_smoothing, question_attention

    def run(self, model: VisionLanguageModel, regions: Regions | None, batch: TextBatch) -> Outputs:
        if batch.kind == "captions":
            prefix = encode_photos(model, regions, len(batch.tokens))
            text = run_captions(model, prefix, batch)
            return Outputs(prefix, (text,), {"caption": supervised_words(model, text.states, batch)})
        if regions is not None and self.question_attention == "full":
            prefix = model.no_prefix(len(batch.tokens))
            sequences = dense_sequences(batch.tokens, model.tokens_of_tags(regions.tags))
            text = run_sequences(model, sequences, regions, batch.valid)
        else:
            prefix = encode_photos(model, regions, len(batch.tokens))
            text = run_questions(model, prefix, batch.tokens, batch.valid)
        logits = model.answer_logits(model.pool(text.states)[batch.valid])
        return Outputs(prefix, (text,), {"answer": logits.float()})

    def losses(self, model: VisionLanguageModel, outputs: Outputs, batch: TextBatch) -> dict[str, Tensor]:
        if batch.kind == "captions":
            words_M = batch.targets[batch.targets != 0]
            loss = caption_loss(outputs.logits["caption"], words_M, model.caption_mask, self.label_smoothing)
            return {"caption": loss}
        return {"answer": answer_loss(outputs.logits["answer"], batch.targets[batch.valid])}


def encode_photos(model: VisionLanguageModel, regions: Regions | None, batch: int) -> Prefix:
    return model.no_prefix(batch) if regions is None else model.encode_prefix(regions)


def run_captions(model: VisionLanguageModel, prefix: Prefix, batch: TextBatch) -> TextOutputs:
    """Words and queries of the captions; the last word's query, which predicts [SEP], counts as a word."""
    states = model.encode_captions(prefix, batch.tokens)
    present_BNT = batch.targets != 0
    words_BNT = present_BNT & (batch.tokens != model.lexicon.cls)
    return TextOutputs(
        states,
        torch.cat([present_BNT, present_BNT], -1),
        torch.cat([words_BNT.new_zeros(words_BNT.shape), words_BNT], -1),
    )


def supervised_words(model: VisionLanguageModel, states: TextStates, batch: TextBatch) -> Tensor:
    """Logits [M, V] of the queries that have a target."""
    queries_BNTD = states.hidden[:, :, batch.tokens.shape[-1] :]
    return model.caption_logits(queries_BNTD[batch.targets != 0])


def run_questions(model: VisionLanguageModel, prefix: Prefix, tokens_BNT: Tensor, valid_BN: Tensor) -> TextOutputs:
    states = model.encode_questions(prefix, tokens_BNT)
    present_BNT = (tokens_BNT != model.lexicon.pad) & valid_BN[..., None]
    special_BNT = (tokens_BNT == model.lexicon.cls) | (tokens_BNT == model.lexicon.sep)
    return TextOutputs(states, present_BNT, present_BNT & ~special_BNT)
