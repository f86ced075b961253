"""A recipe is a list of stages; each leaves a folder behind and is not run twice."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path

import torch
from accelerate import PartialState

from distillvlm.data.atomic_files import write_text_atomically

LONGEST_STAGE = timedelta(days=3)  # that the other processes wait for the first one


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    about: what it does and what it costs, for people. run: gets the stage's folder, continues what lies there, and
    returns facts worth keeping (numbers, names), which are written to `done.json` beside its results.
    settings: those of the recipe that its results depend on; results made with others are never taken up.
    parallel: a training, in which every process of `torchrun` or `accelerate launch` takes part; other stages are run
    by the first process while the rest wait. repeats: is run again each time, like a report of what is there.
    seconds: how long it takes on two cores, about; 0 where nobody has said. after: earlier stages whose results it
    stands on; None: the one before it. once: earlier stages that must be done before it begins though it does not stand
    on their results.
    """

    name: str
    about: str
    run: Callable[[Path], dict[str, object]]
    settings: Mapping[str, object] = field(default_factory=dict)
    parallel: bool = False
    repeats: bool = False
    seconds: float = 0.0
    after: tuple[str, ...] | None = None
    once: tuple[str, ...] = ()


def settings_of(recipe: object, *names: str) -> dict[str, object]:
    """Fields of a recipe, for a stage's `settings`."""
    return {name: getattr(recipe, name) for name in names}


def choose_stages(stages: Sequence[Stage], only: str | None = None, until: str | None = None) -> list[Stage]:
    """Those whose names `only` matches ("*" is any text), up to the first that `until` matches; None: all.

    Raises:
        ValueError: `only` or `until` names no stage.
    """
    names = [stage.name for stage in stages]
    for pattern in (only, until):
        if pattern is not None and not any(fnmatch(name, pattern) for name in names):
            raise ValueError(f"stage: expected one of {', '.join(names)} but received {pattern!r}")
    last = next((place for place, name in enumerate(names) if until is not None and fnmatch(name, until)), len(names))
    return [stage for stage in stages[: last + 1] if only is None or fnmatch(stage.name, only)]


def run_stages(stages: Sequence[Stage], folder: Path, only: str | None = None, until: str | None = None) -> None:
    """Runs the stages that `choose_stages` chooses in order; those that are done are passed over.

    Raises:
        ValueError: `only` or `until` names no stage, or a stage's folder, or one that it stands on, holds results of
            other settings.
    """
    origins, ancestors = origins_of(stages), ancestors_of(stages)
    chosen = choose_stages(stages, only, until)
    needed: set[str] = set().union(*(ancestors[stage.name] for stage in chosen)) - {stage.name for stage in chosen}
    for stage in stages:
        if stage.name in needed and (folder / stage.name / "settings.json").exists():
            _claim(stage, folder / stage.name, origins[stage.name])
    for stage in chosen:
        run_stage(stage, folder / stage.name, origins[stage.name])


def run_stage(stage: Stage, folder: Path, origin: str) -> None:
    """`origin` stands for the settings of this stage and of those that it stands on.

    Raises:
        ValueError: the folder holds results, or a begun training, of another origin.
    """
    processes = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_STAGE)
    if processes.is_main_process:
        _claim(stage, folder, origin)
    done, finished = folder / "done.json", _is_finished(stage, folder)
    processes.wait_for_everyone()  # before the first process writes what the others have just looked for
    if finished:
        processes.print(f"{stage.name}: done in {json.loads(done.read_text())['seconds']} s", flush=True)
        return
    processes.print(f"{stage.name}: {stage.about}", flush=True)
    started = time.monotonic()
    facts = stage.run(folder) if stage.parallel or processes.is_main_process else {}
    seconds = round(time.monotonic() - started)
    if processes.is_main_process:
        write_text_atomically(done, json.dumps({"seconds": seconds, **facts}, indent=1))
    processes.wait_for_everyone()
    processes.print(f"{stage.name}: finished in {seconds} s {facts or ''}", flush=True)


def is_done(stage: Stage, folder: Path, origin: str) -> bool:
    """Whether there is nothing left to do.

    Raises:
        ValueError: the folder holds results of another origin.
    """
    finished = _is_finished(stage, folder)
    if finished:
        _claim(stage, folder, origin)
    return finished


def _is_finished(stage: Stage, folder: Path) -> bool:
    return not stage.repeats and (folder / "done.json").exists()


def ancestors_of(stages: Sequence[Stage]) -> dict[str, set[str]]:
    """By stage, all that it stands on."""
    ancestors: dict[str, set[str]] = {}
    for stage, needed in _with_needed(stages):
        ancestors[stage.name] = {*needed}.union(*(ancestors[name] for name in needed))
    return ancestors


def origins_of(stages: Sequence[Stage]) -> dict[str, str]:
    """By stage, what stands for its settings and for those of all stages that it stands on."""
    origins: dict[str, str] = {}
    for stage, needed in _with_needed(stages):
        described = json.dumps([*(origins[name] for name in needed), stage.name, _described(stage)])
        origins[stage.name] = hashlib.sha256(described.encode()).hexdigest()[:16]
    return origins


def _with_needed(stages: Sequence[Stage]) -> Iterator[tuple[Stage, tuple[str, ...]]]:
    """Each stage with the names of those that it stands on itself."""
    before: tuple[str, ...] = ()
    for stage in stages:
        yield stage, before if stage.after is None else stage.after
        before = (stage.name,)


def _described(stage: Stage) -> dict[str, str]:
    return {name: repr(value) for name, value in stage.settings.items()}


def origin_in(folder: Path) -> str:
    """What a stage's folder was made with."""
    known: dict[str, str] = json.loads((folder / "settings.json").read_text())
    return known["origin"]


def _claim(stage: Stage, folder: Path, origin: str) -> None:
    """Writes down what the folder's results are made with, before they are made; refuses those of another origin."""
    written, settings = folder / "settings.json", _described(stage)
    if not written.exists():
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{stage.name}: {folder} holds results of unknown settings; remove it to run the stage")
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(written, json.dumps({"origin": origin, "settings": settings}, indent=1))
        return
    known = json.loads(written.read_text())
    if known["origin"] == origin:
        return
    changed = [
        f"{name} is {settings.get(name)} and was {known['settings'].get(name)}"
        for name in sorted({*settings, *known["settings"]})
        if settings.get(name) != known["settings"].get(name)
    ]
    reason = "; ".join(changed) or "a setting of an earlier stage has changed"
    raise ValueError(f"{stage.name}: {reason}; remove {folder} to run the stage anew")


def describe_stages(stages: Sequence[Stage]) -> str:
    """The plan for `--dry-run`, with times where the recipe estimates them."""
    width = max(len(stage.name) for stage in stages)
    lines = [f"{stage.name:{width}}  {_minutes(stage)}{stage.about}" for stage in stages]
    total = sum(stage.seconds for stage in stages)
    return "\n".join([*lines, f"about {total / 3600:.1f} hours on two cores"] if total else lines)


def _minutes(stage: Stage) -> str:
    return f"{stage.seconds / 60:5.1f} min  " if stage.seconds else ""


def current_commit() -> str:
    """The commit of the checkout that runs, for provenance; "unknown" outside git."""
    finished = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return finished.stdout.strip() or "unknown"
