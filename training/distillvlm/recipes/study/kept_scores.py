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

from distillvlm.data.atomic_files import save_arrays_atomically, write_text_atomically
from distillvlm.data.records import Split
from distillvlm.engine.gradient_shares import mean_shares, share_windows
from distillvlm.engine.progress import Progress, read_progress, training_seconds
from distillvlm.evaluation.comparisons import Results, Run
from distillvlm.recipes.lessons import SHARE_STEPS
from distillvlm.recipes.pipeline import origin_in
from distillvlm.recipes.study.scores import UNIT, Scores, read_scores

EVALUATION = "-evaluation"
FACTS = "facts.json"
PARTS = ("captions", "answers", "scenes")

Shares = Mapping[str, Mapping[str, float]]


def keep_scores(study: Path, kept: Path, origins: Mapping[str, str], regions: Mapping[str, str]) -> None:
    """Copies what finished evaluation stages (`<group>-<seed>-evaluation`) have left under a study's folder.

    origins: of its stages, see `origins_of`; evaluations that are none of them are passed over. regions: keys of the
    region stores that they stand on.

    Raises:
        ValueError: an evaluation was made with other settings.
    """
    kept.mkdir(parents=True, exist_ok=True)
    for done in sorted(study.glob(f"*{EVALUATION}/done.json")):
        stage = done.parent
        group = stage.name.removesuffix(EVALUATION)
        if stage.name in origins and not group.startswith("pilot"):
            if origin_in(stage) != origins[stage.name]:
                raise ValueError(f"{stage}: was made with other settings; remove it")
            folders = [path.parent for path in sorted(study.glob(f"{group}-*/*/losses.jsonl"))]
            trained = {folder: read_progress(folder) for folder in folders}
            facts = {
                "origin": origins[stage.name],
                "regions": dict(regions),
                "seconds": _seconds(trained),
                "shares": _shares(trained, group),
            }
            write_kept(kept / f"{group}.npz", {path.stem: read_scores(path) for path in stage.glob("*.npz")}, facts)


def keep_facts(kept: Path, facts: Mapping[str, object]) -> None:
    """What the report says beside scores: what the gate found, sizes and costs of the models."""
    write_text_atomically(kept / FACTS, json.dumps(facts, indent=1) + "\n")


def read_facts(kept: Path) -> dict[str, Any]:
    """
    Raises:
        ValueError: the study has not come as far as its gate.
    """
    path = kept / FACTS
    if not path.exists():
        raise ValueError(f"{path}: not there; a report needs a study whose gate is done")
    facts: dict[str, Any] = json.loads(path.read_text())
    return facts


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
        ValueError: a file was made with other settings, or on other regions than the first.
    """
    paths = sorted(kept.glob("*.npz"))
    regions = {path: _read_facts(path)["regions"] for path in paths}
    for path in paths:
        if regions[path] != regions[paths[0]]:
            raise ValueError(f"{path}: stands on other regions than {paths[0].name}: their cells can't be compared")
    return Results((run for path in paths for run in _runs(path, split, origins)), UNIT)


def kept_shares(path: Path, cell: str) -> dict[str, Shares]:
    """By stage and window of a training ("start", "tenth", "half"), each loss's mean share of the gradient; empty
    where the file is not there."""
    if not path.exists():
        return {}
    shares: dict[str, Shares] = _read_facts(path)["shares"].get(cell, {})
    return shares


def _runs(path: Path, split: Split, origins: Mapping[str, str]) -> Iterator[Run]:
    facts, ending = _read_facts(path), f".{split}.captions"
    if facts["origin"] != origins.get(f"{path.stem}{EVALUATION}"):
        raise ValueError(f"{path}: was made with other settings; remove it")
    with np.load(path) as arrays:
        for cell in sorted(name.removesuffix(ending) for name in arrays if name.endswith(ending)):
            captions, answers, scenes = (arrays[f"{cell}.{split}.{part}"] for part in PARTS)
            scores = Scores(captions.astype(np.float64), answers.astype(np.float64), scenes.astype(np.int64))
            seed = int(path.stem.rpartition("-")[-1])
            yield Run(cell, seed, split, scores.by_metric(), facts["seconds"].get(cell))


def _read_facts(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        facts: dict[str, Any] = json.loads(str(arrays["facts"]))
        return facts


def _seconds(trained: Mapping[Path, list[Progress]]) -> dict[str, float | None]:
    """By cell, of its trainings in the group."""
    cells = dict.fromkeys(folder.name for folder in trained)
    return {
        cell: training_seconds([step for folder, steps in trained.items() if folder.name == cell for step in steps])
        for cell in cells
    }


def _shares(trained: Mapping[Path, list[Progress]], group: str) -> dict[str, dict[str, Shares]]:
    """By cell and stage."""
    shares: dict[str, dict[str, Shares]] = {}
    for folder, history in trained.items():
        windows = share_windows(len(history), SHARE_STEPS)
        stage = folder.parent.name.removeprefix(f"{group}-")
        found = {name: mean_shares(history, window) for name, window in windows.items()}
        shares.setdefault(folder.name, {})[stage] = found
    return shares
