"""The recipe of the paper on OSCAR's files: published features, its corpus, and further texts of pre-training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distillvlm.engine.progress import read_progress
from distillvlm.recipes.paper import PaperRecipe
from distillvlm.recipes.paper_data import load_oscar, load_unanswered
from distillvlm.recipes.paper_settings import EVERY_TEXT
from distillvlm.recipes.paper_texts import pretraining_sources
from distillvlm.recipes.pipeline import run_stages
from tests.data.oscar_files import base64_of, write_rows

from .paper_root import tiny, write, write_root

FEATURE_SIZE = 12  # of the tiny teacher's box head
KEYS = {"coco": ("000000000001", "2", "3", "4", "5"), "gqa": ("11", "12", "13", "15"), "googlecc": ("77",)}
YAML = """
corpus: coco_gqa_googlecc
corpus_file: coco_gqa_googlecc.tsv
image_label_path: {coco: labels/coco, gqa: labels/gqa, googlecc: labels/cc}
image_feature_path: {coco: features/coco, gqa: features/gqa, googlecc: features/cc}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets of `paper_root`, GQA, and a corpus: captions of COCO and CC, questions on GQA's photos."""
    root = tmp_path_factory.mktemp("data")
    write_root(root)
    oscar = root / "oscar"
    oscar.mkdir()
    (oscar / "coco_gqa_googlecc.yaml").write_text(YAML)
    for source, keys in KEYS.items():
        write_features(oscar / "features" / source.removeprefix("google"), keys)
    captions = [["coco_cap_" + key, "coco_cap_" + key, f"a box in photo {key}"] for key in ("1", "2", "3", "4", "5")]
    cc = ["cc_cap_77", "cc_cap_77", "a sunset over the sea"]
    questions = [[f"gqa_qa_{key}", f"gqa_qa_{key}_{row}", "is it red?"] for row, key in enumerate(("11", "12", "15"))]
    write_rows(oscar / "coco_gqa_googlecc.tsv", [*captions, cc, *questions])
    answers = [[row, json.dumps({"labels": ["yes"]})] for row in range(3)]
    write_rows(oscar / "labels" / "gqa" / "QA_fileB.tsv", answers)
    kind = {"semantic": "attr", "structural": "verify"}
    asked = {
        str(number): {"imageId": image, "question": "is it blue?", "answer": "no", "types": kind}
        for number, image in enumerate(("11", "12", "15", "n1"))
    }
    write(root / "gqa" / "train_balanced_questions.json", asked)
    return root


def write_features(folder: Path, keys: tuple[str, ...]) -> None:
    """Two boxes a photo, the second one surely a box."""
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]])
    numbers = np.concatenate([np.ones((2, FEATURE_SIZE)), boxes, boxes[:, 2:] - boxes[:, :2]], axis=1)
    write_rows(folder / "features.tsv", [[key, 2, base64_of(numbers)] for key in keys])
    names = [{"class": "Wall", "conf": 0.5}, {"class": "Box", "conf": 0.9}]
    write_rows(folder / "predictions.tsv", [[key, json.dumps({"objects": names})] for key in keys])


def recipe_of(root: Path, folder: Path) -> PaperRecipe:
    """As `paper-tsv` and `paper-texts`, together."""
    recipe = tiny(root, folder)
    first, *others = recipe.courses
    courses = (replace(first, steps=10), *others)
    return replace(recipe, features="tsv", texts=(*EVERY_TEXT, "corpus"), courses=courses)


def test_pre_training_mixes_every_source_on_photos_with_regions_and_not_held_out(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root, tmp_path)
    for names in ("words", "*-detector", "*-regions", "*-pretraining"):
        run_stages([stage for stage in recipe.stages() if stage.name != "plain-pretraining"], tmp_path, only=names)

    coco, genome = [f"coco/{number}" for number in range(1, 5)], "visual_genome/"
    everywhere = {
        "captions": [*coco],
        "questions": coco,
        "gqa": [genome + "11", genome + "12"],
        "tags": [genome + "11", genome + "12", genome + "13"],
        "corpus captions": [*coco],
        "corpus questions": [genome + "11", genome + "12"],
    }
    own, shared, student = (recipe.store(f"{name}-regions") for name in ("teacher", "shared", "student"))
    read = {source.name: source for source in pretraining_sources(recipe, own, None)}
    of_corpus = {"corpus captions": [*coco, "googlecc/77"]}  # a photo that is not at hand
    assert {name: [*(source.pool.photo_ids or ())] for name, source in read.items()} == everywhere | of_corpus
    assert (read["captions"].weight, read["gqa"].weight) == (20, 2)
    read = {source.name: source for source in pretraining_sources(recipe, student, shared)}
    with_flickr = {"captions": [*coco, "flickr30k/36"]}
    assert {name: [*(source.pool.photo_ids or ())] for name, source in read.items()} == everywhere | with_flickr
    decode = recipe.words.tokenizer.decode
    assert decode(read["corpus questions"].pool.texts[0][0]) == "is it red? yes"
    losses = [progress.losses.keys() for progress in read_progress(tmp_path / "student-pretraining")]
    assert {"caption" in names for names in losses} == {True, False}  # questions and tags are read, not said


def test_published_regions_have_the_tags_of_the_words_and_the_most_certain_first(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root, tmp_path)
    (tmp_path / "words").mkdir()
    recipe.make_words(tmp_path / "words")
    assert "sunset" in recipe.words.caption_pieces  # of the corpus
    recipe.make_teacher_regions(tmp_path / "teacher-regions")
    regions = recipe.store("teacher-regions").regions(["coco/1", "visual_genome/15"])
    assert regions.features.shape == (2, recipe.num_regions, FEATURE_SIZE)
    assert regions.valid.sum(1).tolist() == [2, 2]
    tags = [[recipe.words.tags[tag] for tag in row] for row in regions.tags.tolist()]
    assert tags == [["box", "wall"]] * 2


def test_a_photo_without_published_features_is_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_root(root)
    (root / "oscar").mkdir()
    with pytest.raises(ValueError, match=r"oscar: expected one YAML file of a corpus, found 0"):
        load_oscar(root)
    (root / "oscar" / "corpus.yaml").write_text(YAML)
    for source, keys in KEYS.items():
        write_features(root / "oscar" / "features" / source.removeprefix("google"), keys[:4])
    recipe = replace(tiny(root, tmp_path), features="tsv")
    (tmp_path / "words").mkdir()
    recipe.make_words(tmp_path / "words")
    with pytest.raises(ValueError, match=r"features\.tsv: 1 of COCO's photos have no features, the first is coco/5"):
        recipe.make_teacher_regions(tmp_path / "teacher-regions")


def test_test_questions_are_those_of_the_files_that_are_there_and_on_photos_that_coco_lists(tmp_path: Path) -> None:
    write_root(tmp_path)
    (name, records), *others = load_unanswered(tmp_path).items()
    assert not others
    assert name == "test-dev2015"
    assert [(one.photo_id, one.questions[0].question_id, one.questions[0].answers) for one in records] == [
        ("coco/21", 210, ()),
        ("coco/22", 220, ()),
    ]
    asked = {"question_id": 9990, "image_id": 999, "question": "what is it?"}
    write(tmp_path / "coco" / "v2_OpenEnded_mscoco_test2015_questions.json", {"questions": [asked]})
    with pytest.raises(ValueError, match=r"test2015_questions\.json, question 9990: there is no photo coco/999"):
        load_unanswered(tmp_path)
