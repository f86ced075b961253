"""Cells over several seeds: paired by photo and by seed, as tables, pictures and JSON say it."""

import json
from pathlib import Path

import numpy as np
import pytest

from distillvlm.evaluation.comparison_tables import (
    Sweep,
    cell_table,
    comparison_table,
    draw_differences,
    draw_sweep,
    mean_table,
)
from distillvlm.evaluation.comparisons import Results, Run, Scored, as_json
from distillvlm.evaluation.paired import paired_t

ROWS = [("none", "no distillation"), ("all", "all losses"), ("absent", "nobody ran it")]


def run(cell: str, seed: int, captions: list[float], answers: list[float]) -> Run:
    """Two photos with a caption each, and three questions on them."""
    scores = {
        "CIDEr-D": Scored(np.array(captions), np.array([0, 1])),
        "VQA": Scored(np.array(answers), np.array([0, 0, 1])),
    }
    return Run(cell, seed, "test", scores, 1.0)


def results() -> Results:
    return Results(
        [run("none", seed, [10.0, 20.0], [0.0, 50.0, 100.0]) for seed in (1, 2, 3)]
        + [run("all", seed, [12.0 + seed, 22.0 + seed], [50.0, 50.0, 100.0]) for seed in (1, 2, 3, 4)],
        "scene",
    )


def test_comparisons_pair_photos_over_the_seeds_that_both_have() -> None:
    by_scene, by_seed, answers, _ = results().compare("all", "none")
    assert (by_scene.difference, by_scene.low, by_scene.high, by_scene.pairs) == (4, 4, 4, 2)
    assert by_scene.unit == "scene"
    expected = paired_t([3, 4, 5])
    assert (by_seed.difference, by_seed.low, by_seed.high, by_seed.pairs) == (*expected, 3)
    assert answers.difference == pytest.approx(50 / 3)
    assert results().compare("all", "absent") == []


def test_students_interval_by_hand() -> None:
    value, low, high = paired_t([1.0, 2.0, 3.0])
    assert value == 2
    assert high - 2 == 2 - low == pytest.approx(4.302653 / 3**0.5)
    with pytest.raises(ValueError, match="at least 2 differences"):
        paired_t([1.0])


def test_tables_show_the_cells_that_are_there_with_their_spread() -> None:
    found = results()
    assert mean_table(found, ROWS).splitlines() == [
        "| cell | | seeds | CIDEr-D | VQA |",
        "|---|---|---|---|---|",
        "| `none` | no distillation | 3 | 15.0 ± 0.0 | 50.0 ± 0.0 |",
        "| `all` | all losses | 4 | 19.5 ± 1.3 | 66.7 ± 0.0 |",
    ]
    comparisons = found.compare("all", "none")
    assert "| `all` - `none` | CIDEr-D | +4.0 | [+4.0, +4.0] | 2 scenes |" in comparison_table(
        comparisons, [("all", "none")]
    )
    assert comparison_table(comparisons, [("all", "other")]).count("\n") == 2
    cells = cell_table(found, comparisons, ROWS, "none").splitlines()
    assert cells[2] == "| `none` | no distillation | 3 | 15.0 ± 0.0 |  | 50.0 ± 0.0 |  |"
    assert cells[3].startswith("| `all` | all losses | 4 | 19.5 ± 1.3 | +4.0 [+4.0, +4.0] | 66.7 ± 0.0 | +16.7 [")


def test_what_only_captions_is_compared_by_its_captions() -> None:
    captions = {"CIDEr-D": Scored(np.array([5.0, 5.0]), np.array([0, 1]))}
    found = Results([*results().runs.values(), Run("copied", 1, "test", captions, 0.0)])
    assert mean_table(found, [("copied", "a caption of another photo")]).endswith("| 1 | 5.0 |  |\n")
    (row,) = found.compare("copied", "none")
    assert (row.metric, row.difference) == ("CIDEr-D", -10)


def test_the_closed_part_of_a_gap_by_hand() -> None:
    top = run("top", 1, [18.0, 28.0], [50.0, 150.0, 150.0])
    found = Results([*results().runs.values(), top])
    closed = found.gap_closed("all", "none", "top", "CIDEr-D")
    assert closed == pytest.approx((4.5 / 8,) * 3)  # of 8 points on each photo, 4.5 on the mean of its four seeds
    assert found.gap_closed("top", "none", "top", "VQA").value == 1
    assert found.gap_closed("all", "none", "top", "VQA").value == pytest.approx(50 / 200)


def test_programs_read_every_run_and_the_comparisons() -> None:
    found = results()
    read = json.loads(as_json("abc", [found], found.compare("all", "none")))
    assert read["commit"] == "abc"
    assert len(read["runs"]) == 14
    assert {"cell": "all", "seed": 2, "split": "test", "metric": "CIDEr-D", "value": 19.0, "seconds": 1} in read["runs"]
    assert [row["unit"] for row in read["comparisons"]] == ["scene", "seed", "scene", "seed"]


def test_the_picture_has_a_panel_for_each_metric(tmp_path: Path) -> None:
    draw_differences(results().compare("all", "none"), "none", tmp_path / "differences.svg")
    picture = (tmp_path / "differences.svg").read_text()
    assert picture.startswith("<?xml")
    assert picture.count('<g id="axes_') == 2


def test_a_sweep_shows_the_arms_of_which_two_cells_are_there(tmp_path: Path) -> None:
    found = Results([*results().runs.values(), run("none, 10%", 1, [5.0, 6.0], [0.0, 0.0, 0.0])])
    sweep = Sweep("share", {arm: {0.1: f"{arm}, 10%", 1.0: arm} for arm in ("none", "all")})
    assert sweep.done(results()) == {}
    assert sweep.done(found) == {"none": {0.1: "none, 10%", 1.0: "none"}}
    draw_sweep(found, sweep, tmp_path / "sweep.svg")
    picture = (tmp_path / "sweep.svg").read_text()
    assert picture.count('<g id="axes_') == 2
    assert picture.count("<!-- none -->") == 2
    assert "<!-- all -->" not in picture
