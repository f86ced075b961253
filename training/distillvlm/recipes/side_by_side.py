"""A recipe's stages side by side: each in a process of its own, begun once those that it stands on are done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from threading import Event, Lock

from tqdm import tqdm

from distillvlm.recipes.pipeline import Stage, ancestors_of, is_done, origins_of

SHOWN_LINES = 20  # of a failed stage's log


def run_side_by_side(
    stages: Sequence[Stage],
    chosen: Sequence[Stage],
    folder: Path,
    jobs: int,
    command: Callable[[Stage], Sequence[str]],
) -> None:
    """Runs the chosen ones of a recipe's stages, at most `jobs` at a time; what is not chosen is taken to be there.

    command: runs one stage. Its output goes to `<stage>.log` in the recipe's folder. A stage that fails stops those
    that stand on it and no other; an interrupt ends the processes. Processes share the cores: each has its part of them
    as OMP_NUM_THREADS, unless that is set.

    Raises:
        ValueError: stages have failed, or hold results of other settings; names them.
    """
    origins = origins_of(stages)
    todo = [stage for stage in chosen if not is_done(stage, folder / stage.name, origins[stage.name])]
    sorter = TopologicalSorter(_needs(stages, todo))
    sorter.prepare()
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs)), **os.environ}
    folder.mkdir(parents=True, exist_ok=True)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    beginning, ended = Lock(), Event()
    failed: list[str] = []

    def run(stage: Stage) -> int:
        with (folder / f"{stage.name}.log").open("ab") as log:
            with beginning:
                if ended.is_set():
                    return 1
                process = subprocess.Popen(command(stage), stdout=log, stderr=subprocess.STDOUT, env=environment)
                processes[stage.name] = process
            return process.wait()

    pool = ThreadPoolExecutor(jobs)
    running: dict[Future[int], str] = {}
    try:
        with tqdm(total=len(todo), desc="stages", unit="stage", dynamic_ncols=True) as bar:
            while sorter.is_active():
                ready = set(sorter.get_ready())
                running |= {pool.submit(run, stage): stage.name for stage in todo if stage.name in ready}
                bar.set_postfix_str(", ".join(name for future, name in running.items() if future.running()))
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    if future.result() == 0:
                        sorter.done(name)
                        bar.update()
                    else:
                        failed.append(name)
                        tqdm.write(f"{name} failed:\n{_last_lines(folder / f'{name}.log')}")
    finally:
        with beginning:
            ended.set()
            for process in processes.values():
                process.terminate()
        pool.shutdown(cancel_futures=True)
    if failed:
        logs = ", ".join(str(folder / f"{name}.log") for name in failed)
        raise ValueError(f"{len(failed)} of {len(todo)} stages failed, and what stands on them was not run: see {logs}")


def _needs(stages: Sequence[Stage], todo: Sequence[Stage]) -> Mapping[str, set[str]]:
    """By stage that is to be run, those of them that it waits for; a report waits for all before it."""
    ancestors = ancestors_of(stages)
    names = [stage.name for stage in todo]
    return {
        stage.name: set(names[:place]) if stage.repeats else {*ancestors[stage.name], *stage.once} & set(names)
        for place, stage in enumerate(todo)
    }


def _last_lines(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-SHOWN_LINES:])
