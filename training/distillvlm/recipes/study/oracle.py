"""The best that could be said of a scene by one who knows what was drawn: a ceiling for captioners."""

from __future__ import annotations

from collections.abc import Sequence

from distillvlm.data.scenes.captions import make_captions
from distillvlm.data.scenes.difficulty import Difficulty
from distillvlm.data.scenes.layout import Scene
from distillvlm.evaluation.captions import cider_d, tokenize

_PEOPLE = 20


def consensus_captions(scenes: Sequence[Scene], difficulty: Difficulty) -> list[str]:
    """Of what others than the scene's annotators would say of it, that which is most like the rest by CIDEr-D."""
    said = {number: make_captions(scene, difficulty, _PEOPLE, "other") for number, scene in enumerate(scenes)}
    tokens = tokenize({str(number): captions for number, captions in said.items()})
    agreement: dict[int, list[float]] = {number: [] for number in said}
    for person in range(_PEOPLE):
        present = [number for number, captions in said.items() if person < len(captions) > 1]
        own = {str(number): [tokens[str(number)][person]] for number in present}
        rest = {key: [row for place, row in enumerate(tokens[key]) if place != person] for key in own}
        for number, value in zip(present, cider_d(own, rest) if own else (), strict=True):
            agreement[number].append(float(value))
    return [
        captions[max(range(len(agreement[number])), key=agreement[number].__getitem__, default=0)]
        for number, captions in said.items()
    ]
