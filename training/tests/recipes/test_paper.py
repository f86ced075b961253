"""The recipe of the paper: published sizes on the meta device, and every stage once on a data root drawn small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from distillvlm.cli import main
from distillvlm.engine.progress import read_progress
from distillvlm.evaluation.results import ScoredCaption, read_vqa_results, write_scored_captions
from distillvlm.modeling.layouts import OscarLayout, encode_sequences
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes import paper
from distillvlm.recipes.language import parameters_of
from distillvlm.recipes.lessons import Who
from distillvlm.recipes.paper import PaperRecipe
from distillvlm.recipes.paper_data import load_objects, load_texts
from distillvlm.recipes.paper_layouts import LAYOUTS, LayoutName
from distillvlm.recipes.paper_lessons import EVALUATED
from distillvlm.recipes.paper_settings import (
    ANSWERS,
    CAPTION_TOKENS,
    LABELS,
    PIECES,
    TAG_PIECES,
    TAGS,
)
from distillvlm.recipes.pipeline import run_stages
from distillvlm.recipes.teacher_captions import SequenceLevelSettings
from distillvlm.structures.lexicon import Lexicon
from distillvlm.structures.regions import Regions

from .paper_root import tiny, write_root

HEADS = ("word_transform.", "word_norm.", "word_bias", "answer_head.", "match_head.")
MINILM = BertConfig(hidden_size=384, intermediate_size=1536)


@pytest.mark.parametrize(
    ("who", "reference", "published", "with_projection"),
    [("teacher", BertConfig(), 109_482_240, 111_060_480), ("student", MINILM, 33_360_000, 33_755_904)],
)
def test_encoders_have_the_published_numbers_of_parameters(
    who: Who, reference: BertConfig, published: int, with_projection: int
) -> None:
    """BERT-base has 110M, OSCAR 111M with its region projection; MiniLM of 12 layers 33M, the paper's student 34M."""
    lexicon = Lexicon(torch.zeros(1, 2, dtype=torch.long), torch.ones(1, dtype=torch.bool))
    with torch.device("meta"):
        model = VisionLanguageModel(PaperRecipe(Path(), Path()).model_config(who, 3129), lexicon)
        assert parameters_of(BertModel(reference)) == published
    encoder = {name: value.numel() for name, value in model.named_parameters() if not name.startswith(HEADS)}
    assert sum(encoder.values()) == with_projection
    assert sum(count for name, count in encoder.items() if not name.startswith("region_projection.")) == published


def test_a_dry_run_counts_every_network_and_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "paper", "--runs", str(tmp_path), "--dry-run"])
    plan = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert plan["teacher-detector"] == "resnet101 at 640 x 832 px, 90000 steps of 16 photos, 71.7M parameters"
    assert plan["student-detector"].endswith("512 px, 60000 steps of 32 photos, 9.7M parameters")
    # 111.1M, and heads of 0.6M (words), 2.4M (3129 answers)
    assert plan["teacher-pretraining"].endswith("110000 steps of 256 photos x 3 texts, 114.1M parameters")
    assert "distilled from adapted-questions, 118200 steps of 32 photos x 4 texts" in plan["student-questions"]
    assert not list(tmp_path.iterdir())
    main(["run", "paper-oscar", "--runs", str(tmp_path), "--dry-run"])
    plan = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert plan["student-captions"].endswith("64 photos x 4 texts in OSCAR's layout, 35.1M parameters")
    main(["run", "paper-tsv", "--runs", str(tmp_path), "--dry-run"])
    plan = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert plan["teacher-regions"] == "OSCAR's files of features"
    assert "1000000 steps of 768 photos x 1 texts" in plan["student-pretraining"]
    with pytest.raises(SystemExit, match="--data: paper needs the folder of the data sets"):
        main(["run", "paper", "--runs", str(tmp_path)])


def test_every_training_is_shared_by_all_processes_and_nothing_else_is(tmp_path: Path) -> None:
    recipe = PaperRecipe(tmp_path, tmp_path)
    trainings = {"student-detector", "teacher-detector", *(lesson.stage for lesson in recipe.lessons())}
    assert {stage.name for stage in recipe.stages() if stage.parallel} == trainings


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_root(root)
    return root


def test_a_sequence_of_oscars_layout_at_full_size_has_120_places() -> None:
    """On the meta device: 40 of a caption, 30 of tags, 50 regions."""
    recipe = PaperRecipe(Path(), Path(), layout="oscar")
    tags = torch.zeros(LABELS, TAG_PIECES, dtype=torch.long, device="meta")
    lexicon = Lexicon(tags, torch.ones(PIECES, dtype=torch.bool, device="meta"))
    with torch.device("meta"):
        model = VisionLanguageModel(recipe.model_config("teacher", ANSWERS), lexicon)
        values = {name: torch.zeros(2, recipe.num_regions) for name in ("labels", "attributes", "scores")}
        boxes, features = torch.zeros(2, recipe.num_regions, 4), torch.zeros(2, recipe.num_regions, 2048)
        valid = torch.ones(2, recipe.num_regions, dtype=torch.bool)
        regions = Regions(boxes, features, **values, valid=valid, tags=torch.zeros(2, TAGS, dtype=torch.long))
        layout = OscarLayout()
        text = torch.zeros(2, 1, CAPTION_TOKENS + 1, dtype=torch.long)
        sequences = layout.sequences(text, layout.tags_of(model, regions)[:, None], lexicon.pad, captions=True)
        states = encode_sequences(model, sequences, regions)
    assert states.hidden.shape == (2, 1, 120, 768)
    assert states.attention.shape == (2, 12, 1, 120, 120)


def test_oscars_layout_needs_positions_for_the_longest_question_and_its_tags() -> None:
    with pytest.raises(ValueError, match="max_positions: OSCAR's layout needs at least 96 but received 72"):
        PaperRecipe(Path(), Path(), layout="oscar", max_positions=72)


def test_the_control_goes_on_for_as_many_steps_as_the_adapted_teacher_but_on_its_own_boxes() -> None:
    lessons = {lesson.stage: lesson for lesson in PaperRecipe(Path(), Path()).lessons()}
    for course in ("captions", "questions"):
        adapted, control = lessons[f"adapted-{course}"], lessons[f"control-{course}"]
        assert (
            (control.begins, control.steps) == (adapted.begins, adapted.steps) == (f"teacher-{course}", control.steps)
        )
        assert (control.regions, adapted.regions) == ("teacher-regions", "shared-regions")
    measured = [(one.name, one.regions) for one in EVALUATED]
    assert {("control", "teacher-regions"), ("control", "shared-regions")} <= {*measured}


def test_scst_goes_on_with_the_captioners_of_both_students_at_oscars_rate() -> None:
    recipe = PaperRecipe(Path(), Path())
    rewarded = [lesson for lesson in recipe.lessons() if lesson.kind == "scst"]
    assert [(lesson.stage, lesson.begins) for lesson in rewarded] == [
        ("plain-scst", "plain-captions"),
        ("student-scst", "student-captions"),
    ]
    assert {lesson.schedule.learning_rate for lesson in rewarded} == {5e-6}
    assert {one.label for one in recipe.evaluated()} - {
        one.label for one in replace(recipe, scst=None).evaluated()
    } == {
        "plain-scst on student-regions",
        "student-scst on student-regions",
    }
    assert not [lesson for lesson in replace(recipe, scst=None).lessons() if lesson.kind == "scst"]


def test_shares_of_the_gradient_are_taken_wherever_a_teacher_teaches() -> None:
    lessons = PaperRecipe(Path(), Path()).lessons()
    taught = {lesson.stage for lesson in lessons if lesson.schedule.share_steps == 50}
    assert taught == {"student-pretraining", "student-captions", "student-questions"}
    assert {lesson.schedule.share_steps for lesson in lessons if lesson.stage not in taught} == {0}


def test_answers_are_counted_over_training_and_validation_questions_and_rare_ones_left_out(
    root: Path, tmp_path: Path
) -> None:
    """Three are red, one of them on the test photo, which is of VQA v2's validation set; two are blue."""
    (tmp_path / "words").mkdir()
    recipe = replace(tiny(root, tmp_path), least_answers=3)
    recipe.make_words(tmp_path / "words")
    assert recipe.words.answers == ("red",)
    assert PaperRecipe(root, tmp_path).least_answers == 9


def test_captions_of_the_adapted_teacher_are_learnt_by_the_distilled_student_where_asked_for(
    root: Path, tmp_path: Path
) -> None:
    assert "spoken" not in [stage.name for stage in tiny(root, tmp_path).stages()]
    recipe = replace(tiny(root, tmp_path), sequence_level=SequenceLevelSettings(times=2))
    names = [stage.name for stage in recipe.stages()]
    assert names.index("adapted-captions") < names.index("spoken") == names.index("student-captions") - 1
    said = {"coco/1": [ScoredCaption("a red box", -1.0)]}
    (tmp_path / "spoken").mkdir()
    write_scored_captions(tmp_path / "spoken" / "captions.json", said, "coco")
    lessons = {lesson.stage: lesson for lesson in recipe.lessons()}
    first, second, *_ = recipe.records_for(lessons["student-captions"])
    assert (first.captions[5:], second.captions[5:]) == (("a red box",) * 2, ())
    assert not any(one.captions[5:] for one in recipe.records_for(lessons["plain-captions"]))


def test_the_data_root_splits_as_karpathy_does(root: Path) -> None:
    texts = load_texts(root)
    assert [(one.photo_id, one.split, len(one.captions), len(one.questions)) for one in texts] == [
        ("coco/1", "train", 5, 1),
        ("coco/2", "train", 5, 1),
        ("coco/3", "train", 5, 1),
        ("coco/4", "train", 5, 1),
        ("coco/5", "test", 5, 1),
        ("flickr30k/36", "train", 5, 0),
    ]
    objects = load_objects(root, texts)
    assert [(one.photo_id, one.split) for one in objects] == [
        ("visual_genome/11", "train"),
        ("visual_genome/12", "train"),
        ("visual_genome/13", "train"),
        ("visual_genome/15", "test"),
    ]
    assert [box.attributes for box in objects[1].objects] == [("blue",), (), ()]


@pytest.mark.parametrize(
    ("layout", "pretraining"),
    [("dense", {"caption", "masked_tags", "masked_words", "match"}), ("oscar", {"masked", "match"})],
)
def test_every_stage_runs_on_a_small_data_root(
    layout: LayoutName, pretraining: set[str], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "EVALUATED", paper.EVALUATED[-1:])  # METEOR starts a Java machine for each report
    spoken = SequenceLevelSettings(times=1)
    recipe = replace(tiny(root, tmp_path), layout=layout, sequence_level=spoken)
    rewarded = Mock(wraps=paper.train_scst)
    searched = Mock(wraps=paper.BeamSearch)
    monkeypatch.setattr(paper, "train_scst", rewarded)
    monkeypatch.setattr(paper, "BeamSearch", searched)
    courses = [replace(each, steps=10) if each.name == "captions" else each for each in recipe.courses]
    recipe = replace(recipe, courses=tuple(courses))
    run_stages(recipe.stages(), tmp_path)
    distilled = {"attention", "hidden", "hidden_floor", "hidden_duplicates"}
    for course, names in (
        ("pretraining", pretraining),
        ("captions", {"caption", "classification"}),
        ("questions", {"answer", "classification"}),
    ):
        assert {*read_progress(tmp_path / f"student-{course}")[0].losses} == names | distilled
    assert recipe.words.answers == ("red", "blue")
    assert recipe.words.tags == ("box", "floor lamp", "wall")
    assert recipe.attributes == ("red", "blue")

    def done(stage: str) -> dict[str, Any]:
        return json.loads((tmp_path / stage / "done.json").read_text())

    assert done("student-captions")["gradient shares"]["half"].keys() == {
        "caption",
        "classification",
        "attention",
        "hidden",
    }
    assert not done("plain-captions")["gradient shares"]
    said_in = [call.args[-1] for call in (*rewarded.call_args_list, *searched.call_args_list)]
    assert said_in == [LAYOUTS[layout]] * 3  # two students' SCST, the teacher's captions
    assert done("student-scst").keys() >= {"policy", "reward", "baseline"}
    assert done("evaluation")["student-scst on student-regions"].keys() == {"CIDEr-D", "VQA"}
    assert done("submission")["student test-dev2015"] == {"questions": 2}
    for who in ("student", "teacher"):
        assert done(f"{who}-detector-ap")["visual_genome"]["photos"] == 1  # the one of a test photo of COCO
    answers = read_vqa_results(tmp_path / "submission" / "student test-dev2015 answers.json")
    assert answers.keys() == {210, 220}


def test_teacher_and_student_begin_with_the_weights_of_their_checkpoints(root: Path, tmp_path: Path) -> None:
    recipe = tiny(root, tmp_path)
    (tmp_path / "words").mkdir()
    recipe.make_words(tmp_path / "words")
    for name, folder in (("teacher", "bert"), ("plain", "minilm"), ("student", "minilm")):
        lesson = next(each for each in recipe.lessons() if each.stage == f"{name}-pretraining")
        model, twin = recipe.begin(lesson), BertModel.from_pretrained(root / "weights" / folder)
        assert isinstance(twin, nn.Module)
        torch.testing.assert_close(model.layers[0].query.weight, twin.encoder.layer[0].attention.self.query.weight)
