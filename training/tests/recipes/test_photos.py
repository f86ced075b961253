"""The recipe for photos once, so small that it learns nothing: every stage runs, and its bundle says what it says."""

import json
from dataclasses import replace

import numpy as np
import pytest

from distillvlm.data.folds import fold_of
from distillvlm.data.sources import SOURCE_WORDS
from distillvlm.export.manifest import Source
from distillvlm.export.runtime import BundlePredictor
from distillvlm.modeling.detector.companions import Companion
from distillvlm.recipes.concepts import ConceptRecipe
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize, TextMix
from distillvlm.recipes.photos.lessons import Shares, Steps
from distillvlm.recipes.photos.recipe import PhotosRecipe
from distillvlm.recipes.photos.sight import ALL, Sight
from distillvlm.recipes.pipeline import run_stages
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.scst import ScstSettings
from tests.data.wordnet_files import write_wordnet
from tests.recipes.photo_root import write_photo_root

WORDNET = {
    "noun": ("dog", "cat", "horse", "man", "beach", "street", "number"),
    "verb": ("run", "see"),
    "adj": ("red", "blue"),
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> PhotosRecipe:
    folder = tmp_path_factory.mktemp("photos")
    write_photo_root(folder / "data")
    student = DetectorRecipe(
        "test_efficientnet", None, (64, 64), 16, 12, 2, 4, 1e-3, (3.0,), grid=2, num_regions=8, num_tags=3
    )
    recipe = PhotosRecipe(
        data_root=folder / "data",
        wordnet=write_wordnet(folder / "wordnet", WORDNET),
        folder=folder / "runs",
        bundle=folder / "models" / "photos",
        version="0.0.1",
        licence="Apache-2.0",
        sources=(Source("Drawn pictures", "data", "all training", "Apache-2.0"),),
        student_detector=student,
        teacher_detector=replace(student, head_size=16, grid=1),
        companions=(Companion("test_efficientnet", None, (64, 64)),),
        seed=3,
        views=3,
        least=(1, 1),
        least_answers=1,
        concept_words=12,
        concepts=ConceptRecipe(steps=2, batch_size=8, hidden_size=8, folds=2, threshold=0.0),
        student=ModelSize(16, 1, 2, 32),
        teacher=ModelSize(24, 1, 2, 48),
        batches=TextMix((4, 2), (4, 2), 0, 0, unseen=4, described=(4, 2), spoken=2),
        shares=Shares(0.5, 0.25, 0.25, spoken=0.25),
        samples=3,
        teacher_steps=Steps(2, 2, 4, 1e-3),
        adaptation_steps=Steps(0, 2, 4, 1e-3),
        student_steps=Steps(2, 2, 4, 1e-3),
        scst_steps=4,
        pretraining_losses=DistillationSettings(queue_size=32, classification=0.0),
        finetuning_losses=DistillationSettings(queue_size=32),
        scst=ScstSettings(samples=2, max_tokens=5),
    )
    run_stages(recipe.stages(), recipe.folder)
    return recipe


def test_the_bundle_says_what_pytorch_says(recipe: PhotosRecipe) -> None:
    manifest = json.loads((recipe.bundle / "manifest.json").read_text())
    assert manifest["name"] == "photos"
    assert json.loads((recipe.folder / "parity" / "done.json").read_text())["photos"] > 0


def test_the_bundle_lies_beside_others_with_the_same_answers_in_more_and_in_fewer_bytes(recipe: PhotosRecipe) -> None:
    photo = np.full((1, 64, 64, 3), 128, np.uint8)
    paths = {"fp16": recipe.bundle, **{one: recipe.folder / "storages" / one for one in ("fp32", "int8")}}
    bundles = {storage: BundlePredictor(path) for storage, path in paths.items()}
    assert {one.manifest["name"] for one in bundles.values()} == {"photos", "photos-fp32", "photos-int8"}
    logits = {
        storage: one.answer_logits(one.encode(photo), [["what is it?"]]).ravel() for storage, one in bundles.items()
    }
    np.testing.assert_allclose(logits["fp16"], logits["fp32"], atol=1e-2)
    np.testing.assert_allclose(logits["int8"], logits["fp32"], atol=0.2)


def test_a_training_photos_tags_may_end_with_its_source_and_others_never_do(recipe: PhotosRecipe) -> None:
    store = recipe.store("student-regions")
    assert store.num_tags == recipe.student_detector.num_tags + 1
    first = len(recipe.words.tags) - len(SOURCE_WORDS)
    named = {photo_id: np.asarray(store.arrays["tags"])[store.row_of[photo_id], :, -1] for photo_id in store.photo_ids}
    trained = {record.photo_id for record in recipe.training}
    assert all((tags == -1).all() for photo_id, tags in named.items() if photo_id not in trained)
    given = {(photo_id.split("/")[0], row) for photo_id in trained for row in named[photo_id].tolist()}
    assert given == {
        (source, row)
        for place, source in enumerate(("flickr8k", "coco", "daquar"))
        for row in (-1, first + place)
    }  # fmt: skip
    assert store.arrays["tags"][..., :-1].max() < first


def test_members_do_not_see_the_fold_that_they_will_be_asked_about(recipe: PhotosRecipe) -> None:
    stages = {stage.name: stage for stage in recipe.stages()}
    for fold in range(2):
        lesson = stages[f"member-{fold}"].settings["lesson"]
        batches = recipe.batches_of(lesson, recipe.store("teacher-regions"), recipe.seed)
        seen = {number for step in range(4) for number in batches.batch(step).photos.tolist()}
        ids = recipe.store("teacher-regions").photo_ids
        photos = {ids[number] for number in seen if number < len(ids)}
        assert photos
        assert all(fold_of(photo_id, 2) != fold for photo_id in photos)


def test_the_teacher_describes_training_photos_that_nobody_described(recipe: PhotosRecipe) -> None:
    undescribed = {record.photo_id for record in recipe.training if not record.captions}
    spoken = {record.photo_id: record.captions for record in recipe.spoken_records}
    trained = {record.photo_id for record in recipe.training}
    assert undescribed & set(spoken)
    assert set(spoken) <= trained
    assert {len(captions) for captions in spoken.values()} == {1}


def test_a_student_can_be_shown_less(recipe: PhotosRecipe) -> None:
    store = recipe.store("student-regions")
    whole = store.regions(store.photo_ids)
    less = Sight(tags=False, views=1, regions=5).of(store)
    seen = less.regions(store.photo_ids)
    assert (less.views, store.views) == (1, 3)
    assert not (seen.tags[:, :-1] >= 0).any()
    assert np.array_equal(seen.tags[:, -1], whole.tags[:, -1])
    assert not seen.valid[:, 5:].any()
    assert np.array_equal(seen.valid[:, :5], whole.valid[:, :5])
    unsourced = Sight(source=False).of(store).regions(store.photo_ids)
    assert not (unsourced.tags[:, -1] >= 0).any()
    assert np.array_equal(unsourced.tags[:, :-1], whole.tags[:, :-1])
    assert np.array_equal(ALL.of(store).regions(store.photo_ids).valid, whole.valid)


def test_shares_divide_a_trainings_steps_whole() -> None:
    shares, mix = Shares(captions=0.6, questions=0.2, unseen=0.2, spoken=0.15), TextMix((1, 1), (1, 1), 0, 0)
    for spoken, said in ((True, 45), (False, 60)):
        divided = shares.divide(mix, 100, spoken)
        assert (divided.caption_steps, divided.spoken_steps) == (said, 60 - said)
        assert divided.steps == 100


def test_a_teachers_detector_has_companions_and_the_students_none(recipe: PhotosRecipe) -> None:
    own, shared = recipe.store("student-regions"), recipe.store("shared-regions")
    assert shared.feature_size > own.feature_size
    assert np.array_equal(own.regions(own.photo_ids[:1]).boxes, shared.regions(own.photo_ids[:1]).boxes)
    assert {record.photo_id for record in recipe.seen_by_teacher} == set(shared.photo_ids)
