"""Stages: done once, in order, resumed behind what is done."""

import json
from pathlib import Path

import pytest

from distillvlm.cli import main
from distillvlm.recipes.pipeline import Stage, run_stages


def recording(names: list[str], ran: list[str], failing: str | None = None) -> list[Stage]:
    def stage(name: str) -> Stage:
        def run(folder: Path) -> dict[str, object]:
            if name == failing:
                raise ValueError(f"{name} failed")
            ran.append(name)
            (folder / "result").write_text(name)
            return {"figure": len(name)}

        return Stage(name, "about", run)

    return [stage(name) for name in names]


def test_a_run_that_failed_continues_with_the_stage_that_did(tmp_path: Path) -> None:
    ran: list[str] = []
    with pytest.raises(ValueError, match="two failed"):
        run_stages(recording(["one", "two", "three"], ran, failing="two"), tmp_path)
    run_stages(recording(["one", "two", "three"], ran), tmp_path)
    assert ran == ["one", "two", "three"]
    done = json.loads((tmp_path / "three" / "done.json").read_text())
    assert done["figure"] == 5
    assert done["seconds"] >= 0


def test_only_and_until_choose_stages(tmp_path: Path) -> None:
    ran: list[str] = []
    stages = recording(["one", "two", "three"], ran)
    run_stages(stages, tmp_path, only="two")
    run_stages(stages, tmp_path, until="two")
    assert ran == ["two", "one"]
    with pytest.raises(ValueError, match="expected one of one, two, three but received 'four'"):
        run_stages(stages, tmp_path, until="four")


def test_a_dry_run_names_every_stage_and_runs_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "smoke", "--runs", str(tmp_path), "--dry-run"])
    plan = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in plan][:3] == ["scenes", "words", "student-detector"]
    assert plan[-1].startswith("parity")
    assert not list(tmp_path.iterdir())


def test_what_a_user_can_mend_ends_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--data: photos-small needs the folder of the photos"):
        main(["run", "photos-small", "--runs", str(tmp_path)])
