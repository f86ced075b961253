"""The layouts in which `paper` can train and measure its models: dense, or OSCAR's as published."""

from __future__ import annotations

from typing import Literal

from distillvlm.data.oscar_batches import OscarBatches
from distillvlm.data.text_batches import TextBatchSource
from distillvlm.data.words import Words
from distillvlm.modeling.layouts import DenseLayout, Layout, OscarLayout
from distillvlm.recipes.language import TextMix
from distillvlm.recipes.lessons import OBJECTIVES, Kind
from distillvlm.tasks.objective import Objective
from distillvlm.tasks.oscar import OscarObjective

LayoutName = Literal["dense", "oscar"]
OSCAR = OscarLayout(text_length=40, tags_length=30)
OSCAR_POSITIONS = TextMix.max_question_tokens + OSCAR.tags_length  # of the longest question and its tags
LAYOUTS: dict[LayoutName, Layout] = {"dense": DenseLayout(), "oscar": OSCAR}


def objective_of(layout: LayoutName, kind: Kind) -> Objective:
    return OBJECTIVES[kind] if layout == "dense" else OscarObjective(OSCAR)


def oscar_batches(texts: TextBatchSource, words: Words, seed: int, polluted_share: float | None = None) -> OscarBatches:
    return OscarBatches(texts, words.lexicon, OSCAR.tags_length, seed, polluted_share)
