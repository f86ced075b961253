"""Stages: done once, in order, resumed behind what is done."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from distillvlm.cli import RECIPES, main
from distillvlm.engine.trainer import stop_on_divergence
from distillvlm.recipes.pipeline import Stage, run_stages


def recording(
    names: list[str], ran: list[str], failing: str | None = None, rates: Mapping[str, float] | None = None
) -> list[Stage]:
    def stage(name: str) -> Stage:
        def run(folder: Path) -> dict[str, object]:
            if name == failing:
                raise ValueError(f"{name} failed")
            ran.append(name)
            (folder / "result").write_text(name)
            return {"figure": len(name)}

        return Stage(name, "about", run, {"rate": (rates or {}).get(name, 0.1)})

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
    run_stages(stages, tmp_path, only="*e*")
    assert ran == ["two", "one", "three"]
    with pytest.raises(ValueError, match="expected one of one, two, three but received 'four'"):
        run_stages(stages, tmp_path, until="four")


def test_results_of_other_settings_are_not_taken_up(tmp_path: Path) -> None:
    ran: list[str] = []
    run_stages(recording(["one", "two", "three"], ran), tmp_path)
    slower = recording(["one", "two", "three"], ran, rates={"two": 0.01})
    with pytest.raises(ValueError, match=r"two: rate is 0\.01 and was 0\.1; remove .*two to run"):
        run_stages(slower, tmp_path)
    shutil.rmtree(tmp_path / "two")
    with pytest.raises(ValueError, match="three: a setting of an earlier stage has changed"):
        run_stages(slower, tmp_path)
    shutil.rmtree(tmp_path / "three")
    run_stages(slower, tmp_path)
    assert ran == ["one", "two", "three", "two", "three"]


def test_settings_of_a_stage_that_another_does_not_stand_on_leave_its_results_alone(tmp_path: Path) -> None:
    ran: list[str] = []

    def aside(rates: Mapping[str, float]) -> list[Stage]:
        one, two, three = recording(["one", "two", "three"], ran, rates=rates)
        return [one, two, replace(three, after=("one",))]

    run_stages(aside({}), tmp_path)
    shutil.rmtree(tmp_path / "two")
    run_stages(aside({"two": 0.01}), tmp_path)
    assert ran == ["one", "two", "three", "two"]
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(ValueError, match="two: a setting of an earlier stage has changed"):
        run_stages(aside({"one": 0.01, "two": 0.01}), tmp_path)


def test_a_stage_whose_folder_is_new_does_not_take_up_what_others_made_with_other_settings(tmp_path: Path) -> None:
    ran: list[str] = []
    run_stages(recording(["one", "two", "three"], ran), tmp_path, until="two")
    with pytest.raises(ValueError, match=r"one: rate is 0\.01 and was 0\.1"):
        run_stages(recording(["one", "two", "three"], ran, rates={"one": 0.01}), tmp_path, only="three")
    assert ran == ["one", "two"]


def test_a_stage_that_was_cut_off_is_not_continued_with_other_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one failed"):
        run_stages(recording(["one"], [], failing="one"), tmp_path)
    with pytest.raises(ValueError, match=r"one: rate is 0\.01"):
        run_stages(recording(["one"], [], rates={"one": 0.01}), tmp_path)


def test_a_folder_of_unknown_settings_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "precious").write_text("")
    with pytest.raises(ValueError, match=r"one: .* holds results of unknown settings; remove it"):
        run_stages(recording(["one"], []), tmp_path)


def test_a_dry_run_names_every_stage_and_runs_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "smoke", "--runs", str(tmp_path), "--dry-run"])
    plan = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in plan][:3] == ["scenes", "words", "student-detector"]
    assert plan[-1].startswith("parity")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("recipe", "bundle"), [("photos", "photos/models/photos"), ("photos-gpu", "photos-gpu/models/photos-gpu")]
)
def test_both_sizes_of_photos_are_planned_without_data_and_need_it_to_run(
    recipe: str, bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", recipe, "--runs", str(tmp_path), "--dry-run"])
    plan = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert plan["bundle"].endswith(bundle)
    assert "distilled from adapted-0" in plan["student"]
    with pytest.raises(SystemExit, match=f"--data: {recipe} needs"):
        main(["run", recipe, "--runs", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"--weights: {recipe} needs"):
        main(["run", recipe, "--runs", str(tmp_path), "--data", str(tmp_path)])


def test_a_training_that_diverged_ends_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(folder: Path) -> dict[str, object]:
        stop_on_divergence(7, "a loss", {"caption": float("nan")})
        return {}

    monkeypatch.setitem(RECIPES, "smoke", lambda options: [Stage("student", "about", diverging)])
    with pytest.raises(SystemExit, match=r"^distillvlm: step 7: a loss is not finite: \{'caption': nan\}$"):
        main(["run", "smoke", "--runs", str(tmp_path)])


def test_what_a_user_can_mend_ends_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--data: photos-small needs the folder of the photos"):
        main(["run", "photos-small", "--runs", str(tmp_path)])
