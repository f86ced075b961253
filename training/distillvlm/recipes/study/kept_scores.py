"""What evaluations of the study have left, in a small file for each, beside the report that is written from them.

They outlive the models: the study can be finished over several sittings and machines, and anyone can compute its
intervals again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distillvlm.data.atomic_files import save_arrays_atomically
from distillvlm.data.records import Split
from distillvlm.engine.gradient_shares import mean_shares, share_windows
from distillvlm.engine.progress import read_progress
from distillvlm.evaluation.comparisons import Results, Run
from distillvlm.recipes.study.cells import SHARE_STEPS
from distillvlm.recipes.study.scores import UNIT, Scores, read_scores

EVALUATION = "-evaluation"
PARTS = ("captions", "answers", "scenes")

Shares = Mapping[str, Mapping[str, float]]


def keep_scores(study: Path, kept: Path, origins: Mapping[str, str]) -> None:
    """Copies what finished evaluation stages (`<group>-<seed>-evaluation`) have left under a study's folder.

    origins: of its stages, see `origins_of`.
    """
    kept.mkdir(parents=True, exist_ok=True)
    for done in sorted(study.glob(f"*{EVALUATION}/done.json")):
        stage = done.parent
        group = stage.name.removesuffix(EVALUATION)
        if not group.startswith("pilot"):
            facts = {"origin": origins[stage.name], "seconds": _seconds(study, group), "shares": _shares(study, group)}
            write_kept(kept / f"{group}.npz", {path.stem: read_scores(path) for path in stage.glob("*.npz")}, facts)


def write_kept(path: Path, scores: Mapping[str, Scores], facts: Mapping[str, object]) -> None:
    """scores: by `<cell>.<split>`."""
    arrays: dict[str, Any] = {"facts": json.dumps(facts)}
    for name, one in scores.items():
        values = (one.captions.astype(np.float32), one.answers.astype(np.float32), one.scenes.astype(np.int32))
        arrays |= {f"{name}.{part}": value for part, value in zip(PARTS, values, strict=True)}
    save_arrays_atomically(path, arrays)


def read_kept(kept: Path, split: Split, origins: Mapping[str, str]) -> Results:
    """
    Raises:
        ValueError: a file was made with other settings.
    """
    return Results((run for path in sorted(kept.glob("*.npz")) for run in _runs(path, split, origins)), UNIT)


def kept_shares(path: Path, cell: str) -> dict[str, Shares]:
    """By stage and window of a training ("start", "tenth", "half"), each loss's mean share of the gradient; empty
    where the file is not there."""
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        shares: dict[str, Shares] = _facts(arrays)["shares"].get(cell, {})
        return shares


def _runs(path: Path, split: Split, origins: Mapping[str, str]) -> Iterator[Run]:
    ending = f".{split}.captions"
    with np.load(path) as arrays:
        facts = _facts(arrays)
        if facts["origin"] != origins.get(f"{path.stem}{EVALUATION}"):
            raise ValueError(f"{path}: was made with other settings; remove it")
        cells = sorted(name.removesuffix(ending) for name in arrays if name.endswith(ending))
        for cell in cells:
            captions, answers, scenes = (arrays[f"{cell}.{split}.{part}"] for part in PARTS)
            scores = Scores(captions.astype(np.float64), answers.astype(np.float64), scenes.astype(np.int64))
            yield Run(
                cell, int(path.stem.rpartition("-")[-1]), split, scores.by_metric(), facts["seconds"] / len(cells)
            )


def _facts(arrays: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(str(arrays["facts"]))
    return facts


def _seconds(study: Path, group: str) -> float:
    """Of a group's trainings and its evaluation, with one seed."""
    done = [json.loads(path.read_text()) for path in study.glob(f"{group}-*/done.json")]
    return float(sum(one["seconds"] for one in done))


def _shares(study: Path, group: str) -> dict[str, dict[str, Shares]]:
    """By cell and stage."""
    shares: dict[str, dict[str, Shares]] = {}
    for path in sorted(study.glob(f"{group}-*/*/losses.jsonl")):
        history = read_progress(path.parent)
        windows = share_windows(len(history), SHARE_STEPS)
        stage = path.parent.parent.name.removeprefix(f"{group}-")
        found = {name: mean_shares(history, window) for name, window in windows.items()}
        shares.setdefault(path.parent.name, {})[stage] = found
    return shares
