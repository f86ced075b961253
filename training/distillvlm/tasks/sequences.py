"""Texts that tags and regions may see: all of a sequence is distilled, and nothing is shared between texts."""

from __future__ import annotations

import torch
from torch import Tensor

from distillvlm.modeling.layouts import encode_sequences, present_tokens
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.structures.regions import Regions
from distillvlm.structures.sequences import Sequences
from distillvlm.tasks.objective import TextOutputs


def run_sequences(model: VisionLanguageModel, sequences: Sequences, regions: Regions, valid_BN: Tensor) -> TextOutputs:
    """Words, and the regions beside a photo's first text, may become negatives: those beside its other texts are the
    same, or nearly."""
    states = encode_sequences(model, sequences, regions)
    present_BNS = present_tokens(model, sequences, regions) & valid_BN[..., None]
    lexicon, text = model.lexicon, sequences.text
    text_length, length = text.shape[-1], present_BNS.shape[-1]
    may_be_negative = torch.zeros_like(present_BNS)
    may_be_negative[..., :text_length] = (text != lexicon.cls) & (text != lexicon.sep)
    may_be_negative[:, 0, length - regions.valid.shape[1] :] = True
    return TextOutputs(states, present_BNS, present_BNS & may_be_negative, beside=length - text_length)
