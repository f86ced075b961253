"""The recipe of the paper: published sizes on the meta device, and every stage once on a data root drawn small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from distillvlm.cli import main
from distillvlm.data.vocabulary import bert_vocabulary
from distillvlm.engine.progress import read_progress
from distillvlm.modeling.checkpoints import BERT
from distillvlm.modeling.layouts import OscarLayout, encode_sequences
from distillvlm.modeling.vision_language import Lexicon, VisionLanguageModel
from distillvlm.recipes import paper
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize, parameters_of
from distillvlm.recipes.lessons import Who
from distillvlm.recipes.paper import PaperRecipe
from distillvlm.recipes.paper_data import load_objects, load_texts
from distillvlm.recipes.paper_layouts import LayoutName
from distillvlm.recipes.paper_settings import (
    ANSWERS,
    CAPTION_TOKENS,
    COURSES,
    LABELS,
    PIECES,
    TAG_PIECES,
    TAGS,
    Beginning,
)
from distillvlm.recipes.pipeline import run_stages
from distillvlm.structures.regions import Regions

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
    assert "resnet101 at 640 x 832 px" in plan["teacher-detector"]
    # 111.1M, and heads of 0.6M (words), 2.4M (3129 answers)
    assert plan["teacher-pretraining"].endswith("110000 steps of 256 photos x 3 texts, 114.1M parameters")
    assert "distilled from adapted-questions, 118200 steps of 32 photos x 4 texts" in plan["student-questions"]
    assert not list(tmp_path.iterdir())
    main(["run", "paper-oscar", "--runs", str(tmp_path), "--dry-run"])
    plan = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert plan["student-captions"].endswith("64 photos x 4 texts in OSCAR's layout, 35.1M parameters")
    with pytest.raises(SystemExit, match="--data: paper needs the folder of the data sets"):
        main(["run", "paper", "--runs", str(tmp_path)])


def test_every_training_is_shared_by_all_processes_and_nothing_else_is(tmp_path: Path) -> None:
    recipe = PaperRecipe(tmp_path, tmp_path)
    trainings = {"student-detector", "teacher-detector", *(lesson.stage for lesson in recipe.lessons())}
    assert {stage.name for stage in recipe.stages() if stage.parallel} == trainings


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((64, 64, 3), 90, np.uint8)
    pixels[8 + 4 * number : 40 + 4 * number, 10:40] = (230, 20, 20) if number % 2 else (20, 20, 230)
    Image.fromarray(pixels).save(path)


def checkpoint(folder: Path, hidden_size: int) -> None:
    torch.manual_seed(0)
    sizes = dict(hidden_size=hidden_size, num_hidden_layers=1, num_attention_heads=4, intermediate_size=16)
    BertModel(BertConfig(max_position_embeddings=100, **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(bert_vocabulary()) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training photos and a test photo of COCO; Visual Genome has four others, the test photo among them."""
    root = tmp_path_factory.mktemp("data")
    coco, genome = root / "coco", root / "visual_genome"
    years = {1: "train2014", 2: "train2014", 3: "val2014", 4: "val2014", 5: "val2014"}
    split_of = {1: "train", 2: "train", 3: "restval", 4: "restval", 5: "test"}
    images, asked, answered = [], [], []
    for number, year in years.items():
        picture(coco / year / f"{number}.jpg", number)
        colour = "red" if number % 2 else "blue"
        said = [{"raw": f"a {colour} box stands on the {place}"} for place in ("floor", "wall", "left", "table", "bed")]
        photo = {"filepath": year, "filename": f"{number}.jpg", "cocoid": number}
        images.append(photo | {"split": split_of[number], "sentences": said})
        asked.append({"question_id": number, "image_id": number, "question": "what colour is the box?"})
        answered.append({"question_id": number, "image_id": number, "answers": [{"answer": colour}] * 10})
    write(coco / "dataset_coco.json", {"images": images})
    for year, start, end in (("train2014", 0, 2), ("val2014", 2, 5)):
        write(coco / f"v2_OpenEnded_mscoco_{year}_questions.json", {"questions": asked[start:end]})
        write(coco / f"v2_mscoco_{year}_annotations.json", {"annotations": answered[start:end]})
    boxes = []
    for number in (11, 12, 13, 15):
        picture(genome / "images" / f"{number}.jpg", number - 10)
        names = ["box", "wall", "floor lamp"]
        objects = [
            {"object_id": 10 * number + place, "names": [name], "x": 10, "y": 10, "w": 30, "h": 20 + place}
            for place, name in enumerate(names)
        ]
        boxes.append({"image_id": number, "objects": objects})
    write(genome / "objects.json", boxes)
    described = [{"object_id": 10 * n, "attributes": ["red" if n % 2 else "blue"]} for n in (11, 12, 13, 15)]
    write(genome / "attributes.json", [{"image_id": 11, "attributes": described}])
    coco_ids = {11: None, 12: 2, 13: None, 15: 5}
    write(genome / "image_data.json", [{"image_id": n, "coco_id": coco_id} for n, coco_id in coco_ids.items()])
    checkpoint(root / "weights" / "bert", 16)
    checkpoint(root / "weights" / "minilm", 8)
    return root


def tiny(root: Path, folder: Path) -> PaperRecipe:
    detector = DetectorRecipe("test_efficientnet", None, (64, 64), 16, 12, 1, 2, 1e-3, (3.0,))
    return PaperRecipe(
        root,
        folder,
        teacher=ModelSize(16, 1, 4, 16),
        student=ModelSize(8, 1, 4, 16),
        teacher_detector=detector,
        student_detector=replace(detector, head_size=10),
        teacher_begins=Beginning("weights/bert", BERT),
        student_begins=Beginning("weights/minilm", BERT),
        courses=tuple(replace(course, steps=2, batch=(2, 2)) for course in COURSES),
        max_positions=100,  # OSCAR's 70, and a question of some words
        num_regions=6,
        num_tags=2,
    )


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


def test_the_data_root_splits_as_karpathy_does(root: Path) -> None:
    texts = load_texts(root)
    assert [(one.photo_id, one.split, len(one.captions), len(one.questions)) for one in texts] == [
        ("coco/1", "train", 5, 1),
        ("coco/2", "train", 5, 1),
        ("coco/3", "train", 5, 1),
        ("coco/4", "train", 5, 1),
        ("coco/5", "test", 5, 1),
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
    recipe = replace(tiny(root, tmp_path), layout=layout)
    run_stages(recipe.stages(), tmp_path)
    distilled = {"attention", "hidden", "hidden_floor", "hidden_duplicates"}
    for course, names in (
        ("pretraining", pretraining),
        ("captions", {"caption", "classification"}),
        ("questions", {"answer", "classification"}),
    ):
        assert {*read_progress(tmp_path / f"student-{course}")[0].losses} == names | distilled
    assert recipe.words.answers == ("blue", "red")
    assert recipe.words.tags == ("box", "floor lamp", "wall")
    assert recipe.attributes == ("red", "blue")
    done = json.loads((tmp_path / "evaluation" / "done.json").read_text())
    assert done["student on student-regions"].keys() == {"CIDEr-D", "VQA"}


def test_teacher_and_student_begin_with_the_weights_of_their_checkpoints(root: Path, tmp_path: Path) -> None:
    recipe = tiny(root, tmp_path)
    (tmp_path / "words").mkdir()
    recipe.make_words(tmp_path / "words")
    for name, folder in (("teacher", "bert"), ("plain", "minilm"), ("student", "minilm")):
        lesson = next(each for each in recipe.lessons() if each.stage == f"{name}-pretraining")
        model, twin = recipe.begin(lesson), BertModel.from_pretrained(root / "weights" / folder)
        assert isinstance(twin, nn.Module)
        torch.testing.assert_close(model.layers[0].query.weight, twin.encoder.layer[0].attention.self.query.weight)
