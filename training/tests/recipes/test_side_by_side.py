"""Stages in processes of their own: in order where one stands on another, side by side where not."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from distillvlm.cli import main
from distillvlm.recipes.pipeline import Stage, origins_of, run_stage
from distillvlm.recipes.side_by_side import run_side_by_side

# Waits until the files named behind the first are there, then writes the first.
WRITE = """
import pathlib, sys, time
own, *others = map(pathlib.Path, sys.argv[1:])
deadline = time.monotonic() + 20
while not all(other.exists() for other in others):
    if time.monotonic() > deadline:
        sys.exit(f"{own.name}: waited in vain")
    time.sleep(0.01)
own.write_text("")
"""


def stage(name: str, after: tuple[str, ...] | None = None, repeats: bool = False, once: tuple[str, ...] = ()) -> Stage:
    return Stage(name, "about", lambda folder: {}, after=after, repeats=repeats, once=once)


def write(folder: Path, name: str, *awaited: str) -> list[str]:
    return [sys.executable, "-c", WRITE, *(str(folder / one) for one in (name, *awaited))]


def test_stages_that_do_not_stand_on_each_other_run_at_the_same_time_and_a_report_last(tmp_path: Path) -> None:
    stages = [stage("a", ()), stage("b", ("a",)), stage("c", ("a",)), stage("report", ("a",), repeats=True)]
    awaited = {"a": (), "b": ("a", "c-began"), "c": ("a", "b-began"), "report": ("b", "c")}

    def command(one: Stage) -> Sequence[str]:
        (tmp_path / f"{one.name}-began").touch()
        if one.name == "report":
            assert (tmp_path / "b").exists()
            assert (tmp_path / "c").exists()
        return write(tmp_path, one.name, *awaited[one.name])

    run_side_by_side(stages, stages, tmp_path / "runs", 2, command)
    assert (tmp_path / "report").exists()


def test_a_failed_stage_stops_what_stands_on_it_alone_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [stage("a", ()), stage("b", ("a",)), stage("c", ("b",)), stage("d", ()), stage("e", (), once=("a",))]
    failing = [sys.executable, "-c", "raise SystemExit('no such photo')"]

    def command(one: Stage) -> Sequence[str]:
        return failing if one.name == "a" else write(tmp_path, one.name)

    with pytest.raises(ValueError, match=r"1 of 5 stages failed.*a\.log"):
        run_side_by_side(stages, stages, tmp_path / "runs", 1, command)
    assert "no such photo" in capsys.readouterr().out
    assert (tmp_path / "d").exists()
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "e").exists()


def test_what_is_done_is_not_begun_and_what_is_not_chosen_not_waited_for(tmp_path: Path) -> None:
    stages = [stage("a"), stage("b"), stage("c"), stage("d")]
    run_stage(stages[0], tmp_path / "runs" / "a", origins_of(stages)["a"])
    began: list[str] = []

    def command(one: Stage) -> Sequence[str]:
        began.append(one.name)
        return write(tmp_path, one.name, *began[:-1])

    run_side_by_side(stages, [stages[0], stages[1], stages[3]], tmp_path / "runs", 4, command)
    assert began == ["b", "d"]  # d stands on c, which stands on b


def test_an_interrupt_ends_the_processes(tmp_path: Path) -> None:
    def command(one: Stage) -> Sequence[str]:
        if one.name == "b":
            raise KeyboardInterrupt
        return write(tmp_path, "a", "never")

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([stage("a", ()), stage("b", ())], [stage("a", ()), stage("b", ())], tmp_path, 2, command)
    assert not (tmp_path / "a").exists()


def test_the_command_line_begins_a_process_for_a_stage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"1 of 1 stages failed.*words\.log"):
        main(["run", "smoke", "--runs", str(tmp_path), "--jobs", "2", "--only", "words"])
    assert "expected generated scenes, found none" in (tmp_path / "smoke" / "words.log").read_text()
