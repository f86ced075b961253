"""What a served bundle's scores are worth, and the calibration that makes them chances."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distillvlm.data.photos import load_photos
from distillvlm.data.records import Record, Split, of_split
from distillvlm.evaluation.calibration import (
    Reliability,
    apply_out_of_fold,
    draw_reliability,
    fit_calibration,
)
from distillvlm.evaluation.captions import cider_d, tokenize, tokenized_references
from distillvlm.evaluation.report import asked, captioned
from distillvlm.evaluation.server import Served, measure
from distillvlm.evaluation.vqa import answer_score
from distillvlm.export.manifest import read_manifest, replace_calibration
from distillvlm.structures.calibration import IDENTITY, Calibration

GOOD_FROM = 50.0
"""CIDEr-D, with the idf of the training captions, from which on a caption counts as good."""


@dataclass(frozen=True)
class Observed:
    """scores: as served, [N]. right: whether it is, [N] in 0-1. photos: on which, [N]."""

    scores: NDArray[np.float64]
    right: NDArray[np.float64]
    photos: list[str]


def observe(
    records: Sequence[Record], served: Served, training: Sequence[Record], good_from: float
) -> dict[str, Observed]:
    """Captions and answers with what is true of them; training: its captions give the idf."""
    described = captioned(records)
    references = tokenized_references(described)
    said = tokenize({photo_id: [caption.text] for photo_id, caption in served.captions.items()})
    corpus = tokenized_references(record for record in training if record.captions)
    pairs = asked(records)
    given = [served.answers[record.source][question.question_id] for record, question in pairs]
    return {
        "caption": Observed(
            np.array([served.captions[record.photo_id].score for record in described]),
            (cider_d(said, references, list(corpus.values())) >= good_from).astype(np.float64),
            [record.photo_id for record in described],
        ),
        "answer": Observed(
            np.array([answer.score for answer in given]),
            np.array([answer_score(answer.text, question) for (_, question), answer in zip(pairs, given, strict=True)]),
            [record.photo_id for record, _ in pairs],
        ),
    }


def calibrate(
    url: str, data_root: Path, split: Split, folder: Path, good_from: float = GOOD_FROM, bundle: Path | None = None
) -> dict[str, Any]:
    """Holds the scores of a served bundle against people's words; writes `calibration.json` and `.svg` into `folder`.

    bundle: that is served; its manifest gets the calibration that is found, behind the one that it has. Errors of the
    scores as calibrated are those of photos that the calibration has not seen (five folds).

    Raises:
        ValueError: a bundle is to be calibrated on another split than validation.
    """
    if bundle is not None and split != "val":
        raise ValueError(f"calibrate: expected --split val where a bundle is changed but received {split}")
    records = load_photos(data_root)
    chosen = of_split(records, split)
    observed = observe(chosen, measure(url, chosen), of_split(records, "train"), good_from)
    lines = {name: {"as served": Reliability.of(seen.scores, seen.right)} for name, seen in observed.items()}
    found: dict[str, Calibration] = {}
    if bundle is not None:
        for name, seen in observed.items():
            found[name] = fit_calibration(seen.scores, seen.right).after(_calibration_of(bundle, name))
            unseen = apply_out_of_fold(seen.scores, seen.right, seen.photos)
            lines[name]["calibrated"] = Reliability.of(unseen, seen.right)
        replace_calibration(bundle, found["caption"], good_from, found["answer"])
    report = {
        name: {
            "items": len(seen.scores),
            "right": float(seen.right.mean()),
            "expected calibration error": {line: each.error for line, each in lines[name].items()},
            **({"calibration": asdict(found[name])} if found else {}),
        }
        for name, seen in observed.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calibration.json").write_text(json.dumps({"split": split, "good_from": good_from, **report}, indent=1))
    draw_reliability(lines, folder / "calibration.svg")
    return report


def _calibration_of(bundle: Path, name: str) -> Calibration:
    found = read_manifest(bundle)["scores"][name].get("calibration")
    return IDENTITY if found is None else Calibration(**found)
