"""The whole study once, so small that it finds nothing, and what its parts say of made-up scores."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from distillvlm.data.records import of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.scenes import SMOKE, STUDY
from distillvlm.data.scenes.files import scene_of
from distillvlm.data.scenes.layout import make_scene
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize
from distillvlm.recipes.pipeline import ancestors_of, origins_of, run_stages
from distillvlm.recipes.study.cells import GROUPS, PILOT, Group
from distillvlm.recipes.study.gate import Gate, check_gate
from distillvlm.recipes.study.kept_scores import keep_scores, kept_shares, read_kept
from distillvlm.recipes.study.oracle import consensus_captions
from distillvlm.recipes.study.recipe import StudyRecipe
from distillvlm.recipes.study.report import write_report
from distillvlm.recipes.study.scores import Scores, read_scores, write_scores

LEFT_OUT = ("losses", "queues", "hundredth", "longer-unadapted", "search-smoothing", "search-dropout")
CELLS = {cell.name for group in GROUPS if group.name not in LEFT_OUT for cell in group.cells}
TEACHERS = {"teacher", "teacher, student's boxes", "control", "control, student's boxes", "adapted, student's boxes"}
OPEN = Gate(room=(-1e9, -1e9), foreign=-1e9, headroom=(-1e9, -1e9), ceiling=-1e9)


def tiny_study(folder: Path, groups: tuple[Group, ...], gate: Gate = OPEN) -> StudyRecipe:
    student = DetectorRecipe(
        "test_efficientnet", None, (64, 64), 16, 12, 2, 4, 1e-3, (3.0,), grid=1, num_regions=4, num_tags=2
    )
    return StudyRecipe(
        folder=folder / "runs",
        docs=folder / "docs",
        difficulty=SMOKE,
        counts={"train": 20, "val": 4, "test": 4},
        image_size=(64, 64),
        student_detector=student,
        teacher_detector=replace(student, head_size=16, num_regions=6),
        seed=3,
        annotated=10,
        captions=1,
        student=ModelSize(8, 1, 2, 16),
        teacher=ModelSize(16, 1, 2, 16),
        teacher_batch=(4, 2),
        student_batch=(4, 2),
        teacher_steps=(1, 2),
        adaptation_steps=(1, 2),
        student_steps=(2, 2),
        scst_steps=2,
        teacher_rate=1e-3,
        adaptation_rate=1e-3,
        student_rate=1e-3,
        teachers=1,
        pilot=tuple(replace(group, data_share=min(group.data_share, 2.0)) for group in PILOT),
        groups=groups,
        gate=gate,
    )


def of_tests() -> tuple[Group, ...]:
    wanted = [group for group in GROUPS if group.name not in LEFT_OUT]
    return tuple(replace(group, seeds=1, data_share=min(1.0, 5 * group.data_share)) for group in wanted)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    recipe = tiny_study(folder, of_tests())
    run_stages(recipe.stages(), recipe.folder)
    return folder


def test_every_cell_has_a_row_in_the_tables_and_in_the_file_for_programs(run: Path) -> None:
    written = (run / "docs" / "study.md").read_text()
    found = json.loads((run / "docs" / "study.json").read_text())
    assert set(found) == {"commit", "runs", "comparisons"}
    rows = {(row["cell"], row["split"], row["metric"]) for row in found["runs"]}
    assert rows == set(product(CELLS | TEACHERS, ("val", "test"), ("CIDEr-D", "VQA")))
    assert all(f"| `{cell}` |" in written for cell in CELLS | TEACHERS)
    compared = {(row["a"], row["b"]) for row in found["comparisons"]}
    assert {
        ("all", "none"),
        ("all", "all-unadapted"),
        ("adapted, student's boxes", "control, student's boxes"),
    } <= compared
    assert {row["unit"] for row in found["comparisons"]} == {"scene"}  # one seed has no spread,
    assert "not tested over seeds" in written  # so nothing is claimed
    assert "**" not in written
    assert (run / "docs" / "study.svg").read_text().count("all + sequence") > 0
    assert "](study-data.svg)" in written
    assert (run / "docs" / "study-data.svg").exists()
    assert "study-queue" not in written  # one size of the queue is no sweep


def test_a_report_needs_no_models_but_scores_of_the_same_settings(run: Path) -> None:
    recipe = tiny_study(run, of_tests())
    kept, origins = run / "docs" / "study-scores", origins_of(recipe.stages())
    evaluations = {path.parent.name for path in (run / "runs").glob("*-evaluation/done.json")}
    assert {f"{path.stem}-evaluation" for path in kept.glob("*.npz")} == {
        name for name in evaluations if not name.startswith("pilot")
    }
    found = read_kept(kept, "test", origins).runs["all", 1]
    scored = read_scores(run / "runs" / "headline-1-evaluation" / "all.test.npz")
    np.testing.assert_allclose(found.scores["CIDEr-D"].values, scored.captions, rtol=1e-6)
    np.testing.assert_array_equal(found.scores["VQA"].values, scored.answers)
    assert set(kept_shares(kept / "headline-1.npz", "all")) == {"pretraining", "finetuning"}
    slower = origins_of(replace(recipe, student_rate=1e-4).stages())
    with pytest.raises(ValueError, match=r"npz: was made with other settings; remove it"):
        read_kept(kept, "test", slower)
    with pytest.raises(ValueError, match=r"-evaluation: was made with other settings; remove it"):
        keep_scores(run / "runs", run / "kept elsewhere", slower, {})
    elsewhere = replace(recipe, folder=run / "another machine")
    elsewhere.report(elsewhere.folder / "report")
    assert json.loads((run / "docs" / "study.json").read_text())["comparisons"]


def test_scores_on_other_regions_are_not_compared(run: Path, tmp_path: Path) -> None:
    recipe = tiny_study(run, of_tests())
    origins = origins_of(recipe.stages())
    keep_scores(run / "runs", tmp_path, origins, {"student-regions": "one"})
    (tmp_path / "headline-1.npz").rename(tmp_path / "kept.npz")
    keep_scores(run / "runs", tmp_path, origins, {"student-regions": "another"})
    (tmp_path / "kept.npz").rename(tmp_path / "headline-1.npz")
    with pytest.raises(ValueError, match=r"stands on other regions than .*: their cells can't be compared"):
        read_kept(tmp_path, "test", origins)


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("teacher_rate", ("pilot", "full-attention")),
        ("student_rate", ("teacher-1", "adapted-1", "control-1")),
        ("polluted_share", ()),
        ("question_share", ()),
    ],
)
def test_another_setting_makes_other_trainings_of_all_that_it_concerns(
    tmp_path: Path, setting: str, kept: tuple[str, ...]
) -> None:
    recipe = tiny_study(tmp_path, GROUPS)
    changed = replace(recipe, **{setting: 0.123})
    before, after = origins_of(recipe.stages()), origins_of(changed.stages())
    trainings = [stage.name for stage in recipe.stages() if stage.parallel and not stage.name.endswith("-detector")]
    assert {name for name in trainings if before[name] == after[name]} == {
        name for name in trainings if name.startswith(kept)
    }


def test_every_training_of_the_study_is_shared_by_all_processes(tmp_path: Path) -> None:
    stages = tiny_study(tmp_path, GROUPS).stages()
    kinds = ("-detector", "-pretraining", "-finetuning", "-scst", "teacher-1", "adapted-1", "control-1")
    assert {stage.name for stage in stages if stage.parallel} == {
        stage.name for stage in stages if stage.name.endswith(kinds)
    }


def test_students_wait_for_the_gate_but_do_not_stand_on_it(tmp_path: Path) -> None:
    recipe = tiny_study(tmp_path, GROUPS)
    ancestors = ancestors_of(recipe.stages())
    first = {stage.name: stage.once for stage in recipe.stages()}
    assert first["headline-1-pretraining"] == ("gate",)
    assert first["pilot-1-pretraining"] == ()
    assert "gate" not in ancestors["headline-1-pretraining"]


def test_what_is_said_of_a_cell_makes_no_other_training(tmp_path: Path) -> None:
    said = tuple(
        replace(group, cells=tuple(replace(cell, about=f"{cell.about}!") for cell in group.cells)) for group in GROUPS
    )
    assert origins_of(tiny_study(tmp_path, said).stages()) == origins_of(tiny_study(tmp_path, GROUPS).stages())


def test_a_report_of_an_unfinished_study_says_what_is_still_to_be_run(run: Path) -> None:
    assert "still to be run" not in (run / "docs" / "study.md").read_text()
    planned = tuple(replace(group, seeds=5) if group.name == "headline" else group for group in of_tests())
    origins = origins_of(tiny_study(run, planned).stages())
    write_report(run / "docs" / "study-scores", origins, planned, run / "unfinished", "", "")
    written = (run / "unfinished" / "study.md").read_text()
    assert "still to be run: `none` (1 of 5), `all` (1 of 5), `all-unadapted` (1 of 5)." in written


def test_cells_of_one_seed_share_weights_and_batches_until_their_losses_part(run: Path) -> None:
    def first(cell: str) -> dict[str, float]:
        folder = run / "runs" / "headline-1-pretraining" / cell
        return json.loads((folder / "losses.jsonl").read_text().splitlines()[0])["losses"]

    plain, distilled, unadapted = first("none"), first("all"), first("all-unadapted")
    assert {name: distilled[name] for name in plain} == plain
    assert {name: unadapted[name] for name in plain} == plain
    assert distilled["attention"] != unadapted["attention"]


def test_what_a_teacher_has_made_of_a_text_is_not_made_again_for_another_seed(run: Path) -> None:
    recipe = tiny_study(run, of_tests())
    stores = (recipe.store("student-regions"), recipe.store("shared-regions"))
    batch = recipe.batches("finetuning", recipe.training, (4, 2), 4, 1, *stores).batch(0)
    headline, device = recipe.group_of("all"), torch.device("cpu")
    first, second = (recipe.teachers_of(headline, headline.cells, seed, "finetuning") for seed in (1, 2))
    for name, teacher in first.items():
        said = teacher.outputs(batch, device).texts[0].states.hidden
        del teacher.model.layers[:]  # what it would take to make it again
        torch.testing.assert_close(second[name].outputs(batch, device).texts[0].states.hidden, said)
    adapted, control = (second[name].outputs(batch, device).texts[0].states.hidden for name in ("adapted", "control"))
    assert not torch.equal(adapted, control)


@pytest.mark.parametrize("training", ["teacher-1-pretraining", "adapted-1", "headline-1-finetuning/none"])
def test_teachers_and_students_standardise_the_regions_they_began_with(run: Path, training: str) -> None:
    regions = "student-regions" if training.startswith("headline") else "teacher-regions"
    photo_ids = [record.photo_id for record in tiny_study(run, of_tests()).training]
    mean, deviation = RegionStore(run / "runs" / regions).feature_statistics(photo_ids)
    state = torch.load(run / "runs" / training / "model.pt", weights_only=True)
    torch.testing.assert_close(state["region_mean"], mean)
    torch.testing.assert_close(state["region_deviation"], deviation)


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_both_detectors_are_measured_and_no_stage_stands_on_that(run: Path, who: str) -> None:
    name = f"{who}-detector-ap"
    done = json.loads((run / "runs" / name / "done.json").read_text())
    assert done["scenes"]["photos"] == 4
    assert 0 <= done["scenes"]["AP"]["low"] <= done["scenes"]["AP"]["high"] <= 100
    ancestors = ancestors_of(tiny_study(run, of_tests()).stages())
    assert f"{who}-regions" in ancestors[name]
    assert all(name not in needed for needed in ancestors.values())


def test_a_gate_with_nothing_behind_it_stays_shut_and_says_why(run: Path) -> None:
    recipe = tiny_study(run, (), Gate())
    with pytest.raises(ValueError, match=r"gate: these scenes would show nothing: .*least 8"):
        recipe.check(run / "runs" / "gate")


# By hand: teacher 120 and 80, on the student's boxes 100; student 90 and 70, longer 110 and 75, richer 115 and 77.
BY_HAND = {
    "teacher above student, CIDEr-D": 30.0,
    "teacher above student, VQA": 10.0,
    "teacher above itself on the student's boxes, CIDEr-D": 20.0,
    "ten times the labels in three times the steps above student, CIDEr-D": 25.0,
    "ten times the labels in three times the steps above student, VQA": 7.0,
    "three times the steps above student, CIDEr-D": 20.0,
    "three times the steps above student, VQA": 5.0,
}


def evaluated(folder: Path, scores: dict[str, tuple[float, float]]) -> Path:
    """An evaluation's scores of four validation scenes, all alike; those of test scenes are others."""
    folder.mkdir(parents=True)
    for name, (captions, answers) in scores.items():
        for split, shift in (("val", 0.0), ("test", 1000.0)):
            rows = np.full(4, captions + shift), np.full(4, answers + shift), np.arange(4)
            write_scores(folder / f"{name}.{split}.npz", Scores(*rows))
    return folder


def test_the_gate_compares_what_it_says_and_shuts_where_one_difference_is_too_small(run: Path, tmp_path: Path) -> None:
    recipe = tiny_study(run, ())
    folders = (
        evaluated(tmp_path / "plain", {"none": (90, 70)}),
        evaluated(tmp_path / "longer", {"three times the steps": (110, 75)}),
        evaluated(tmp_path / "rich", {"ten times the labels": (115, 77)}),
        evaluated(tmp_path / "teacher", {"teacher": (120, 80), "teacher, student's boxes": (100, 60)}),
    )
    given = (*folders, of_split(recipe.records, "val"), SMOKE, recipe.seed)
    found = check_gate(OPEN, *given)
    assert {name: found[name]["found"] for name in BY_HAND} == BY_HAND
    just_open = Gate(room=(29.9, 9.9), foreign=19.9, headroom=(24.9, 6.9), ceiling=-1e9)
    check_gate(just_open, *given)
    for shut in (
        {"room": (30.0, 9.9)},
        {"room": (29.9, 10.0)},
        {"foreign": 20.0},
        {"headroom": (25.0, 6.9)},
        {"headroom": (24.9, 7.0)},
        {"ceiling": 1e9},
    ):
        with pytest.raises(ValueError, match="gate: these scenes would show nothing"):
            check_gate(replace(just_open, **shut), *given)


def test_a_record_is_the_scene_it_was_drawn_from(run: Path) -> None:
    recipe = tiny_study(run, ())
    for record in of_split(recipe.records, "val"):
        things = scene_of(record, SMOKE, recipe.seed).things
        assert [thing.category for thing in things] == [box.label for box in record.objects]


def test_the_oracle_says_what_most_people_would() -> None:
    scenes = [make_scene(3, "val", number, STUDY) for number in range(30)]
    captions = consensus_captions(scenes, replace(STUDY, disagreement=0.4))
    named = sum(
        any(thing.category in caption and thing.colour in caption for thing in scene.things)
        for scene, caption in zip(scenes, captions, strict=True)
    )
    assert named > 20  # the first of three words, seen right, is what agrees with most
