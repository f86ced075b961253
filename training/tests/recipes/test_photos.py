"""The recipe for photos once, so small that it learns nothing: every stage runs, and its bundle says what it says."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distillvlm.data.folds import fold_of
from distillvlm.data.records import of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.sources import SOURCE_WORDS
from distillvlm.engine.trainer import snapshot_folder
from distillvlm.export.manifest import Source
from distillvlm.export.runtime import BundlePredictor
from distillvlm.modeling.detector.companions import Companion
from distillvlm.recipes.concepts import ConceptRecipe
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize, TextMix, load_for_inference, load_model
from distillvlm.recipes.photos import recipe as photos_recipe
from distillvlm.recipes.photos import teaching
from distillvlm.recipes.photos.evidence import PhotosEvidence
from distillvlm.recipes.photos.lessons import PhotoLesson, Shares, Steps
from distillvlm.recipes.photos.material import PhotosMaterial
from distillvlm.recipes.photos.recipe import PhotosRecipe
from distillvlm.recipes.photos.scores import read_scores, score_model
from distillvlm.recipes.photos.settings import tiny_beside
from distillvlm.recipes.photos.sight import ALL, Sight
from distillvlm.recipes.pipeline import ancestors_of, origins_of, run_stages
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.scst import ScstSettings
from tests.data.wordnet_files import write_wordnet
from tests.recipes.photo_root import TOLD_AGAIN, write_photo_root

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
        batches=TextMix((4, 2), (4, 2), 0, 0, unseen=4, described=(4, 2), spoken=2, asked=(4, 3)),
        shares=Shares(captions=0.25, spoken=0.125, questions=0.375, unseen=0.25, asked=0.5, drawn=0.5),
        samples=3,
        temperature=0.6,
        teacher_dropout=0.1,
        teacher_smoothing=0.1,
        student_dropout=0.0,
        student_smoothing=0.0,
        teacher_steps=Steps(2, 2, 8, 1e-3),
        adaptation_steps=Steps(0, 2, 8, 1e-3),
        student_steps=Steps(2, 2, 8, 1e-3),
        scst_steps=8,
        pretraining_losses=DistillationSettings(queue_size=32, classification=0.0),
        finetuning_losses=DistillationSettings(queue_size=32),
        scst=ScstSettings(samples=2, max_tokens=5),
        least_lead=-1000.0,
    )
    run_stages(recipe.stages(), recipe.folder)
    return recipe


@pytest.fixture(scope="module")
def evidence(recipe: PhotosRecipe) -> PhotosEvidence:
    """With some of its arms trained."""
    detector = replace(recipe.student_detector, pyramid_channels=8, head_size=8)
    evidence = PhotosEvidence(
        photos=recipe,
        tiny=tiny_beside(recipe, detector, ModelSize(8, 1, 2, 16), {}),
        shipped_steps=Steps(0, 2, 5, 1e-3),
        tiny_steps=Steps(0, 2, 5, 1e-3),
        plain_steps=2.0,
        scst_steps=2,
        seeds=2,
        docs=recipe.folder / "docs",
    )
    trained = ("none-1*", "all-1*", "none-2*")
    material = (
        "student-detector",
        "student-regions",
        "concepts",
        "tags",
        "shared-regions",
        "adapted-*",
        "student-texts",
    )
    material = (*material, "shared-test-regions")
    patterns = ["shipped-teacher-test-regions", "shipped-shared-test-regions", "shipped-others-evaluation"]
    patterns += [f"shipped-{name}" for name in trained] + [f"tiny-{name}" for name in (*material, *trained, "others-*")]
    patterns += ["tiny-none-longer-1*", "tiny-all-sequence-1*", "tiny-cells-alone-1*", "evidence"]
    for pattern in patterns:
        run_stages(evidence.stages(), recipe.folder, pattern)
    return evidence


def test_the_bundle_says_what_pytorch_says(recipe: PhotosRecipe) -> None:
    manifest = json.loads((recipe.bundle / "manifest.json").read_text())
    assert manifest["name"] == "photos"
    for stage in ("parity", "parity-fp32"):
        done = json.loads((recipe.at(stage) / "done.json").read_text())
        assert done["photos"] == done["same captions"] > 0


def test_another_version_or_place_makes_another_bundle_and_another_seed_other_detectors(recipe: PhotosRecipe) -> None:
    def changed(**settings: object) -> set[str]:
        before, after = (origins_of(one.stages()) for one in (recipe, replace(recipe, **settings)))
        return {name for name in before if before[name] != after[name]}

    assert changed(bundle=Path("elsewhere")) == {"bundle", "parity"}
    assert changed(version="9") == {"bundle", "parity", "storages", "parity-fp32"}
    assert {"student-detector", "teacher-detector"} <= changed(seed=99) >= {"concepts", "tags"}


def test_a_student_without_a_teacher_becomes_a_bundle_by_what_serves_no_teacher(
    recipe: PhotosRecipe, tmp_path: Path
) -> None:
    alone = replace(recipe, taught=False, folder=tmp_path / "runs", bundle=tmp_path / "models" / "photos")
    material = ["twins", "words", "student-detector", "student-regions", "concepts", "tags"]
    for stage in material:
        shutil.copytree(recipe.at(stage), alone.at(stage))
    run_stages(alone.stages(), alone.folder, until="bundle")
    made = sorted(folder.name for folder in alone.folder.iterdir())
    trained = ["blind", "bundle", "decoding", "evaluation", "student", "student-detector-ap", "student-scst"]
    assert made == sorted(material + trained)
    facts = json.loads((alone.at("evaluation") / "done.json").read_text())
    assert set(facts) == {"seconds", "student", "student-scst"}
    assert json.loads((alone.bundle / "manifest.json").read_text())["provenance"]["teacher"] is None


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_both_detectors_are_measured_by_data_set(recipe: PhotosRecipe, who: str) -> None:
    done = json.loads((recipe.at(f"{who}-detector-ap") / "done.json").read_text())
    of_people = [one for one in of_split(recipe.records, "val") if one.source == "coco"]
    assert done["coco"]["photos"] == len(of_people) > 0
    assert "flickr8k-pseudo" in done
    assert "flickr8k" not in done


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


def test_a_training_reads_nothing_but_what_it_stands_on(
    recipe: PhotosRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side, what it does not stand on may not be there yet."""
    read: list[str] = []
    at = PhotosMaterial.at
    monkeypatch.setattr(PhotosMaterial, "at", lambda self, stage: read.append(stage) or at(self, stage))
    ancestors = ancestors_of(recipe.stages())
    lessons = {stage.name: stage.settings["lesson"] for stage in recipe.stages() if "lesson" in stage.settings}
    for name in ("teacher-texts", "member-0-pretraining", "adapted-1", "student-texts", "student", "student-scst"):
        read.clear()
        replace(recipe).learn(lessons[name], tmp_path / name)  # a new one, which has read nothing yet
        assert set(read) <= ancestors[name], name


def test_teachers_read_no_text_of_a_training_photo_and_students_all(recipe: PhotosRecipe) -> None:
    told = {text.photo_id for text in recipe.texts}
    assert told - {text.photo_id for text in recipe.texts_of_others} == {f"flickr30k/{TOLD_AGAIN}.jpg"}
    lessons = {stage.name: stage.settings["lesson"] for stage in recipe.stages() if "lesson" in stage.settings}
    pools = {
        who: recipe.batches_of(lessons[f"{who}-texts"], recipe.store("student-regions"), 0).sources[0].batches.pool
        for who in ("teacher", "student")
    }
    assert len(pools["teacher"].texts) == len(pools["student"].texts) - 1


def test_teacher_and_student_have_dropout_and_smoothing_of_their_own(
    recipe: PhotosRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [recipe.new_model(who).config.dropout for who in ("teacher", "student")] == [0.1, 0.0]
    seen: dict[str, float] = {}
    lessons = {stage.name: stage.settings["lesson"] for stage in recipe.stages() if "lesson" in stage.settings}

    def trained(lesson: PhotoLesson, *rest: Any) -> dict[str, object]:
        seen[lesson.stage] = rest[-1].label_smoothing
        return {}

    monkeypatch.setattr(teaching, "train_lesson", trained)
    for name in ("member-0", "student"):
        recipe.learn(lessons[name], tmp_path / name)
    assert seen == {"member-0": 0.1, "student": 0.0}


@pytest.mark.parametrize(
    ("scores", "stage", "steps", "penalty"),
    [
        # Before SCST, its five snapshots, then four other penalties with the best of them.
        ([43, 40, 42, 41, 39, 40, 42, 41, 40, 39], "student", 3, 1.0),
        ([43, 44, 47, 46, 38, 30, 41, 48, 38, 37], "student-scst", 3, 0.8),
    ],
)
def test_the_best_snapshot_of_scst_is_taken_and_none_where_it_is_no_gain(
    recipe: PhotosRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: list[float],
    stage: str,
    steps: int,
    penalty: float,
) -> None:
    assert recipe.scst_snapshots() == [1, 3, 4, 6, 8]
    given = iter(scores)
    monkeypatch.setattr(photos_recipe, "cider_d_by_source", lambda *_: {"all": float(next(given))})
    found = recipe.choose_decoding(tmp_path)
    assert next(given, None) is None
    assert (found["student"], found["scst_steps"], found["length_penalty"]) == (stage, steps, penalty)
    monkeypatch.setattr(PhotosRecipe, "chosen", found)
    folder = recipe.at("student") if stage == "student" else snapshot_folder(recipe.at("student-scst"), steps)
    taken, expected = replace(recipe).trained_student(), load_model(recipe.new_model("student"), folder)
    assert all(map(torch.equal, taken.state_dict().values(), expected.state_dict().values()))


def test_a_teacher_that_does_not_lead_a_plain_student_teaches_nobody(
    recipe: PhotosRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lead(taught: float, plain: float) -> dict[str, Any]:
        given = iter([{"flickr8k": taught, "coco": 0.0, "all": 0.0}, {"flickr8k": plain, "coco": 90.0, "all": 90.0}])
        monkeypatch.setattr(photos_recipe, "cider_d_by_source", lambda *_: next(given))
        return replace(recipe, least_lead=5.0).check_teacher(tmp_path)

    assert lead(55.0, 50.0)["lead"] == 5.0
    with pytest.raises(ValueError, match=r"has 54\.9 of CIDEr-D and a plain student 50\.0; expected a lead of 5$"):
        lead(54.9, 50.0)
    ancestors = ancestors_of(recipe.stages())
    taught = {name for name in ancestors if "gate" in ancestors[name]}
    assert {"student-pretraining", "student", "student-scst"} <= taught
    assert not taught & {"adapted-0", "plain", "spoken", "blind"}


def test_a_teachers_detector_has_companions_and_the_students_none(recipe: PhotosRecipe) -> None:
    own, shared = recipe.store("student-regions"), recipe.store("shared-regions")
    assert shared.feature_size > own.feature_size
    assert np.array_equal(own.regions(own.photo_ids[:1]).boxes, shared.regions(own.photo_ids[:1]).boxes)
    assert {record.photo_id for record in recipe.seen_by_teacher} == set(shared.photo_ids)


def test_arms_of_a_seed_differ_in_their_teacher_alone_and_begin_alike(evidence: PhotosEvidence) -> None:
    shipped, _ = evidence.sizes
    plain, distilled = (arm.lessons for arm in shipped.pairs[:2])
    for ours, theirs in zip(plain, distilled, strict=True):
        begins = theirs.begins and theirs.begins.replace("all", "none")
        same = replace(theirs, stage=ours.stage, begins=begins, taught_by=None, soft=False)
        assert same == ours
    batches = [shipped.recipe.batches_of(one, shipped.recipe.seen_in(one), 1) for one in (plain[1], distilled[1])]
    for step in range(plain[1].steps):
        ours, theirs = (each.batch(step) for each in batches)
        assert torch.equal(ours.tokens, theirs.tokens)
        assert torch.equal(ours.photos, theirs.photos)


def test_evidence_takes_what_photos_has_made_and_never_its_name(evidence: PhotosEvidence) -> None:
    stages = [stage.name for stage in evidence.stages()]
    assert len(set(stages)) == len(stages)
    tiny = evidence.sizes[1].recipe
    assert tiny.at("words") == evidence.photos.at("words")
    assert tiny.at("adapted-1") == evidence.photos.at("adapted-1")
    assert tiny.at("adapted-0") != evidence.photos.at("adapted-0")
    own, others = tiny.store("student-regions"), evidence.photos.store("student-regions")
    assert own.photo_ids == others.photo_ids
    assert own.feature_size < others.feature_size


def test_test_photos_are_looked_at_in_no_view_but_their_own(evidence: PhotosEvidence) -> None:
    tiny = evidence.sizes[1].recipe
    assert RegionStore(tiny.at("shared-test-regions")).views == 1
    assert tiny.store("student-regions").views == 3


def test_the_best_snapshot_on_validation_photos_is_looked_at(evidence: PhotosEvidence) -> None:
    arm, recipe = evidence.sizes[1].pairs[0], evidence.sizes[1].recipe
    done = json.loads((recipe.at("none-1-evaluation") / "done.json").read_text())
    assert list(done["curve"]) == ["1", "2", "3", "4", "5"]
    assert done["curve"][str(done["steps"])] == max(done["curve"].values())
    kept = snapshot_folder(recipe.at(arm.last.stage), done["steps"])
    model = load_for_inference(recipe.new_model("student"), kept)
    test = of_split(recipe.records, "test")
    found = score_model(model, recipe.store("student-regions"), test, recipe.words)
    written = read_scores(recipe.at("none-1-evaluation") / "none.test.npz")
    assert list(found) == list(written)
    for metric, scored in found.items():
        np.testing.assert_array_equal(scored.values, written[metric].values)


def test_the_report_has_what_is_there(evidence: PhotosEvidence) -> None:
    report = (evidence.docs / "photos-evidence.md").read_text()
    found = json.loads((evidence.docs / "photos-evidence.json").read_text())
    cells = {(run["cell"], run["split"]) for run in found["runs"]}
    both = {"none", "all", "none, tiny", "all, tiny"}
    teachers = {"teacher", "unadapted", "adapted", "unadapted, tiny", "adapted, tiny"}
    others = {"none, longer, tiny", "all + sequence, tiny"}
    assert {cell for cell, split in cells if split == "test"} == both | others | teachers | {"blind", "nearest photo"}
    assert {cell for cell, split in cells if split == "val"} == both | others | {"cells alone, tiny"}
    assert all(f"| `{cell}` |" in report for cell, _ in cells)
    compared = {(row["a"], row["b"]) for row in found["comparisons"]}
    assert compared == {
        ("all", "none"),
        ("all, tiny", "none, tiny"),
        ("none, longer, tiny", "none, tiny"),
        ("all + sequence, tiny", "none, tiny"),
        ("all, tiny", "none, longer, tiny"),
        ("cells alone, tiny", "none, tiny"),
    }
    assert "of the way from `none, tiny` to `adapted, tiny`" in report
    assert (evidence.docs / "photos-evidence-curves.svg").exists()
    assert (evidence.docs / "photos-evidence-levers.svg").exists()
