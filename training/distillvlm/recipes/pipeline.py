"""A recipe is a list of stages; each leaves a folder behind and is not run twice."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    about: what it does and what it costs, for people. run: gets the stage's folder, continues what lies there, and
    returns facts worth keeping (numbers, names), which are written to `done.json` beside its results.
    """

    name: str
    about: str
    run: Callable[[Path], dict[str, object]]


def run_stages(stages: Sequence[Stage], folder: Path, only: str | None = None, until: str | None = None) -> None:
    """Runs the stages in order; those that are done are passed over. `only` runs one, `until` stops behind one.

    Raises:
        ValueError: `only` or `until` names no stage.
    """
    names = [stage.name for stage in stages]
    for name in (only, until):
        if name is not None and name not in names:
            raise ValueError(f"stage: expected one of {', '.join(names)} but received {name!r}")
    for stage in stages:
        if only is None or stage.name == only:
            run_stage(stage, folder / stage.name)
        if stage.name == until:
            break


def run_stage(stage: Stage, folder: Path) -> None:
    done = folder / "done.json"
    if done.exists():
        print(f"{stage.name}: done in {json.loads(done.read_text())['seconds']} s", flush=True)
        return
    print(f"{stage.name}: {stage.about}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    facts = stage.run(folder)
    seconds = round(time.monotonic() - started)
    done.write_text(json.dumps({"seconds": seconds, **facts}, indent=1))
    print(f"{stage.name}: finished in {seconds} s {facts or ''}", flush=True)


def describe_stages(stages: Sequence[Stage]) -> str:
    """The plan for `--dry-run`."""
    width = max(len(stage.name) for stage in stages)
    return "\n".join(f"{stage.name:{width}}  {stage.about}" for stage in stages)


def current_commit() -> str:
    """The commit of the checkout that runs, for provenance; "unknown" outside git."""
    finished = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return finished.stdout.strip() or "unknown"
