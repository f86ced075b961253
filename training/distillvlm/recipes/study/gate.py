"""Is there anything to find? Scenes show no effect of distillation unless they are made for it.

Asked on validation scenes, before a student of the study is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distillvlm.data.records import Record
from distillvlm.data.scenes import Difficulty
from distillvlm.data.scenes.files import scene_of
from distillvlm.evaluation.captions import score_captions, tokenized_references
from distillvlm.recipes.study.oracle import consensus_captions
from distillvlm.recipes.study.scores import Scores, read_scores


@dataclass(frozen=True)
class Gate:
    """Least differences in points of CIDEr-D (and VQA accuracy).

    room: between teacher and plain student. foreign: what the teacher loses on the student's boxes before adaptation.
    headroom: what ten times the labels bring the student in three times the steps; above 0, the information is in its
    regions. What the steps bring alone is told and shuts nothing. ceiling: of an oracle above the teacher.
    """

    room: tuple[float, float] = (8.0, 4.0)
    foreign: float = 3.0
    headroom: tuple[float, float] = (0.0, 0.0)
    ceiling: float = 15.0


def check_gate(
    gate: Gate,
    plain: Path,
    longer: Path,
    rich: Path,
    teacher: Path,
    records: Sequence[Record],
    difficulty: Difficulty,
    seed: int,
) -> dict[str, object]:
    """Compares the scores in the folders of evaluations, on the validation records.

    Raises:
        ValueError: a difference is too small; names each.
    """
    own, foreign, student, trained_longer, taught_more = (
        read_scores(folder / f"{name}.val.npz")
        for folder, name in (
            (teacher, "teacher"),
            (teacher, "teacher, student's boxes"),
            (plain, "none"),
            (longer, "three times the steps"),
            (rich, "ten times the labels"),
        )
    )
    oracle = consensus_captions([scene_of(record, difficulty, seed) for record in records], difficulty)
    said = dict(zip((record.photo_id for record in records), oracle, strict=True))
    best = score_captions(said, tokenized_references(records))
    found: dict[str, tuple[float, float | None]] = {
        "teacher above student, CIDEr-D": (_captions(own, student), gate.room[0]),
        "teacher above student, VQA": (_answers(own, student), gate.room[1]),
        "teacher above itself on the student's boxes, CIDEr-D": (_captions(own, foreign), gate.foreign),
        "ten times the labels in three times the steps above student, CIDEr-D": (
            _captions(taught_more, student),
            gate.headroom[0],
        ),
        "ten times the labels in three times the steps above student, VQA": (
            _answers(taught_more, student),
            gate.headroom[1],
        ),
        "three times the steps above student, CIDEr-D": (_captions(trained_longer, student), None),
        "three times the steps above student, VQA": (_answers(trained_longer, student), None),
        "oracle above teacher, CIDEr-D": (float((best - own.captions).mean()), gate.ceiling),
    }
    _stop_if_closed(found)
    return {name: {"found": round(value, 2), "least": least} for name, (value, least) in found.items()}


def _stop_if_closed(found: Mapping[str, tuple[float, float | None]]) -> None:
    small = [
        f"{name} is {value:.1f}, least {least}"
        for name, (value, least) in found.items()
        if least is not None and value <= least
    ]
    if small:
        raise ValueError("gate: these scenes would show nothing: " + "; ".join(small))


def _captions(a: Scores, b: Scores) -> float:
    return float((a.captions - b.captions).mean())


def _answers(a: Scores, b: Scores) -> float:
    return float((a.answers - b.answers).mean())
