"""What a model costs for one photo: parameters, multiply-adds and time on this machine's CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from distillvlm.modeling.detector import Detector
from distillvlm.modeling.generation import beam_search
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.language import parameters_of

ROUNDS = 15

# Seconds on two cores of an AMD EPYC at the study's sizes, for the plan: a teacher's step of 32 photos, students' steps
# of 16 and a teacher's pass over them, a teacher's caption, and the evaluation of a model on 1,000 validation and 4,000
# test scenes.
TEACHER_STEP, TEACHER_FORWARD = 0.65, 0.115
PASSES_OVER_TEXTS = 2.25  # of a teacher over the annotated scenes: their captions, and their questions by eights
PLAIN_STEP, DISTILLED_STEP, SCST_STEP = 0.075, 0.11, 0.5
TEACHER_CAPTION, TEACHER_EVALUATION, STUDENT_EVALUATION = 0.025, 240.0, 90.0


@dataclass(frozen=True)
class Pair:
    """A detector and the transformer that reads its regions."""

    detector: Detector
    model: VisionLanguageModel


@torch.inference_mode()
def caption(pair: Pair) -> None:
    """A photo from pixels to a caption: beam 5, 20 tokens at most."""
    pixels = torch.zeros(1, *pair.detector.config.image_size, 3, dtype=torch.uint8)
    beam_search(
        pair.model, pair.model.encode_prefix(pair.detector(pixels)), num_beams=5, max_tokens=20, length_penalty=1.0
    )


def cost_table(pairs: Mapping[str, Pair]) -> str:
    """Times are medians of captions made in turn, as multiples of the last one's beside its milliseconds."""
    seconds = _in_turn({name: partial(caption, pair) for name, pair in pairs.items()})
    base = list(seconds.values())[-1]
    lines = [
        "| | detector, M parameters | transformer, M parameters | GFLOP a caption | time a caption |",
        "|---|---|---|---|---|",
    ]
    for name, pair in pairs.items():
        detector, model = (parameters_of(module) / 1e6 for module in (pair.detector, pair.model))
        with FlopCounterMode(display=False) as counter:
            caption(pair)
        flops = counter.get_total_flops() / 1e9
        cost = f"{seconds[name] / base:.1f} ({1000 * seconds[name]:.0f} ms)"
        lines.append(f"| {name} | {detector:.1f} | {model:.1f} | {flops:.2f} | {cost} |")
    return "\n".join(lines) + "\n"


def _in_turn(works: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in times.items()}
