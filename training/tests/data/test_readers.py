"""Readers of public annotation formats, on small files in exactly those formats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from distillvlm.data.annotation_files import PhotoSet, annotation_file, read_json, read_splits
from distillvlm.data.coco import left_out, read_captions, read_instances, read_photos
from distillvlm.data.daquar import read_daquar, validation_photos
from distillvlm.data.karpathy import karpathy_splits, read_karpathy
from distillvlm.data.records import ObjectBox, Question, Record
from distillvlm.data.text_only import PhotoText, drop_held_out, drop_photos, load_text_only
from distillvlm.data.visual_genome import read_visual_genome
from distillvlm.data.vqa import join_questions, read_questions

IMAGES = [
    {"id": 1, "file_name": "1.jpg", "width": 100, "height": 80},
    {"id": 2, "file_name": "2.jpg", "width": 100, "height": 80},
]
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 9, "name": "cat"}]


def write(path: Path, content: Any) -> Path:
    data = json.dumps(content).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def coco_photos(folder: Path) -> PhotoSet:
    return PhotoSet("coco", folder, {"1": "train", "2": "test"})


def record(photo_id: str, split: Any = "train", captions: tuple[str, ...] = ()) -> Record:
    return Record(photo_id, Path("x.jpg"), 10, 10, split, photo_id.split("/")[0], captions)


@pytest.mark.parametrize("name", ["captions.json", "captions.json.gz"])
def test_coco_captions_are_read_plain_and_gzipped(tmp_path: Path, name: str) -> None:
    annotations = [
        {"id": 5, "image_id": 2, "caption": " A cat. "},
        {"id": 4, "image_id": 1, "caption": "A dog."},
        {"id": 6, "image_id": 2, "caption": "Cat."},
    ]
    write(tmp_path / name, {"images": IMAGES, "annotations": annotations})
    first, second = read_captions(annotation_file(tmp_path, "captions.json"), coco_photos(tmp_path))
    assert first == Record("coco/1", tmp_path / "1.jpg", 100, 80, "train", "coco", captions=("A dog.",))
    assert (second.split, second.captions) == ("test", ("A cat.", "Cat."))


def test_photos_outside_of_the_splits_are_left_out_with_what_is_said_of_them(tmp_path: Path) -> None:
    photos = PhotoSet("coco", tmp_path, {"2": "val"})
    annotations = [
        {"id": number, "image_id": number, "caption": "A dog.", "category_id": 7, "bbox": [0, 0, 5, 5]}
        for number in (1, 2)
    ]
    path = write(tmp_path / "c.json", instances(*annotations))
    assert [(one.photo_id, len(one.captions)) for one in read_captions(path, photos)] == [("coco/2", 1)]
    assert [(one.photo_id, len(one.objects)) for one in read_instances(path, photos)] == [("coco/2", 1)]
    assert [one.photo_id for one in read_photos(path, photos)] == ["coco/2"]
    assert left_out(path, photos) == {"coco/1"}


@pytest.mark.parametrize("image_id", ["1", 999, None])
def test_an_annotation_of_an_image_that_the_file_does_not_list_is_named(tmp_path: Path, image_id: Any) -> None:
    annotation = {"id": 31, "image_id": image_id, "caption": "A dog.", "category_id": 7, "bbox": [0, 0, 5, 5]}
    path = write(tmp_path / "c.json", instances(annotation))
    message = rf"c\.json, annotation 31: expected the id of one of the file's images, received {image_id!r}"
    for read in (read_captions, read_instances):
        with pytest.raises(ValueError, match=message):
            read(path, coco_photos(tmp_path))


def test_photos_can_be_named_by_file_and_have_one_split(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", {"images": IMAGES, "annotations": []})
    records = read_captions(path, PhotoSet("flickr8k", tmp_path, "val", key="file_name"))
    assert [(one.photo_id, one.split) for one in records] == [("flickr8k/1.jpg", "val"), ("flickr8k/2.jpg", "val")]


def instances(*annotations: Any) -> dict[str, Any]:
    return {"images": IMAGES, "annotations": list(annotations), "categories": CATEGORIES}


def test_coco_boxes_become_corners_within_the_photo(tmp_path: Path) -> None:
    content = instances(
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 40], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 9, "bbox": [-5, 70, 300, 30], "score": 0.5},
        {"id": 3, "image_id": 1, "category_id": 9, "bbox": [0, 0, 9, 9], "score": 0.2},
        {"id": 4, "image_id": 1, "category_id": 7, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        {"id": 5, "image_id": 1, "category_id": 7, "bbox": [100, 0, 50, 50]},
    )
    first, second = read_instances(write(tmp_path / "i.json", content), coco_photos(tmp_path), min_score=0.3)
    assert first.objects == (
        ObjectBox((10, 20, 40, 60), "dog"),
        ObjectBox((0, 70, 100, 80), "cat", score=0.5),
    )
    assert second.objects == ()


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"id": 31, "image_id": 1, "category_id": 7}, r"i\.json, annotation 31: field 'bbox' is missing"),
        ({"id": 31, "image_id": 1, "category_id": 8, "bbox": [0, 0, 5, 5]}, r"annotation 31: field 8 is missing"),
        ({"id": 31, "image_id": 1, "category_id": 7, "bbox": [0, 0, 5]}, r"annotation 31: not enough values"),
        ({"id": 31, "image_id": 1, "category_id": 7, "bbox": [0, 0, "a", 5]}, r"annotation 31: could not convert"),
        ({"image_id": 1, "category_id": 7}, r"i\.json, annotation at place 0: field 'bbox' is missing"),
        ([31, 1], r"i\.json, annotation at place 0: expected an object, received list"),
    ],
)
def test_a_malformed_annotation_is_named_with_its_file(tmp_path: Path, annotation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_instances(write(tmp_path / "i.json", instances(annotation)), coco_photos(tmp_path))


def test_files_that_are_absent_or_no_json_or_lack_a_list_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the annotation file x\.json"):
        annotation_file(tmp_path, "x.json")
    (tmp_path / "broken.json.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"broken\.json\.gz"):
        read_json(tmp_path / "broken.json.gz")
    whole = gzip.compress(b"[" + b"1, " * 99 + b"1]")
    (tmp_path / "torn.json.gz").write_bytes(whole[:15] + bytes(8) + whole[15:])
    with pytest.raises(ValueError, match=r"Cannot read .*torn\.json\.gz"):
        read_json(tmp_path / "torn.json.gz")
    path = write(tmp_path / "half.json", {"images": IMAGES})
    with pytest.raises(ValueError, match=r"half\.json, the top level: field 'annotations'"):
        read_captions(path, coco_photos(tmp_path))


def test_splits_name_each_photo_once(tmp_path: Path) -> None:
    path = write(tmp_path / "splits.json", {"train": [1, 2], "val": [3]})
    assert read_splits(path) == {"1": "train", "2": "train", "3": "val"}
    with pytest.raises(ValueError, match=r"splits\.json, split test: photo 2 is in train too"):
        read_splits(write(tmp_path / "splits.json", {"train": [1, 2], "test": [2]}))
    with pytest.raises(ValueError, match=r"splits\.json, the top level: expected an object, received list"):
        read_splits(write(tmp_path / "splits.json", [1, 2]))
    with pytest.raises(ValueError, match="received 'dev'"):
        read_splits(write(tmp_path / "splits.json", {"dev": [1]}))


def test_karpathy_files_give_captions_splits_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "val2014").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "val2014" / "a.jpg")
    Image.new("RGB", (12, 14)).save(tmp_path / "b.jpg")
    sentences = [{"raw": "One ."}, {"raw": "Two ."}]
    images = [
        {"filename": "a.jpg", "filepath": "val2014", "cocoid": 42, "split": "restval", "sentences": sentences},
        {"filename": "b.jpg", "split": "test", "sentences": sentences[:1]},
    ]
    first, second = read_karpathy(write(tmp_path / "k.json", {"images": images}), tmp_path, "coco")
    assert first == Record("coco/42", tmp_path / "val2014" / "a.jpg", 30, 20, "train", "coco", ("One .", "Two ."))
    assert (second.photo_id, second.width, second.height, second.split) == ("coco/b.jpg", 12, 14, "test")


def test_karpathy_splits_need_no_photos(tmp_path: Path) -> None:
    images = [
        {"filename": "a.jpg", "cocoid": 1, "split": "restval"},
        {"filename": "b.jpg", "cocoid": 2, "split": "test"},
    ]
    splits = karpathy_splits(write(tmp_path / "k.json", {"images": images}))
    assert splits == {"1": "train", "2": "test"}
    captions = write(tmp_path / "c.json", {"images": IMAGES, "annotations": []})
    read = read_captions(captions, PhotoSet("coco", tmp_path, splits))
    assert [(one.photo_id, one.split) for one in read] == [("coco/1", "train"), ("coco/2", "test")]
    images[1]["split"] = "dev"
    with pytest.raises(ValueError, match=r"k\.json, image b\.jpg: expected a split of .* received 'dev'"):
        karpathy_splits(write(tmp_path / "k.json", {"images": images}))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (["a.jpg"], r"k\.json, image at place 0: expected an object, received list"),
        ({"split": "train"}, r"k\.json, image at place 0: field 'filename' is missing"),
        ({"filename": "absent.jpg", "split": "train"}, r"k\.json, image absent\.jpg: Cannot decode .*absent\.jpg"),
        ({"filename": "a.jpg", "split": "train"}, r"k\.json, image a\.jpg: field 'sentences' is missing"),
    ],
)
def test_a_malformed_karpathy_record_is_named(tmp_path: Path, image: Any, message: str) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=message):
        read_karpathy(write(tmp_path / "k.json", {"images": [image]}), tmp_path, "coco")


def vqa_files(folder: Path, **changed: Any) -> tuple[Path, Path]:
    question = {"question_id": 1000, "image_id": 1, "question": "What is it?"}
    annotation = {
        "question_id": 1000,
        "image_id": 1,
        "answer_type": "other",
        "question_type": "what is",
        "multiple_choice_answer": "dog",
        "answers": [{"answer": answer, "answer_id": n} for n, answer in enumerate(["dog"] * 9 + ["puppy"])],
    }
    return (
        write(folder / "q.json", {"questions": [question]}),
        write(folder / "a.json", {"annotations": [annotation | changed]}),
    )


def test_vqa_questions_join_the_records_of_their_photos(tmp_path: Path) -> None:
    questions = read_questions(*vqa_files(tmp_path))
    with_question, without, held_out = join_questions(
        [record("coco/1"), record("coco/2"), record("coco/1", "test")], "coco", questions, tmp_path, splits=("train",)
    )
    assert with_question.questions == (
        Question(1000, "What is it?", ("dog",) * 9 + ("puppy",), "other", "what is", "dog"),
    )
    assert without.questions == held_out.questions == ()


def test_only_questions_on_photos_that_a_split_leaves_out_may_lack_a_record(tmp_path: Path) -> None:
    asked, annotated = vqa_files(tmp_path)
    questions = read_questions(asked, annotated)
    with pytest.raises(ValueError, match=r"q\.json, question 1000: there is no photo coco/1$"):
        join_questions([record("coco/2")], "coco", questions, asked)
    assert join_questions([record("coco/2")], "coco", questions, asked, left_out={"coco/1"}) == [record("coco/2")]


def test_questions_can_lack_annotations_as_test_questions_do(tmp_path: Path) -> None:
    asked, _ = vqa_files(tmp_path)
    assert read_questions(asked, None) == {1: [Question(1000, "What is it?", ())]}
    write(asked, {"questions": [{"question_id": 1000, "image_id": "1", "question": "What is it?"}]})
    with pytest.raises(ValueError, match=r"q\.json, question 1000: expected a number, received '1'"):
        read_questions(asked, None)


def test_a_question_without_annotation_or_with_a_malformed_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"q\.json, question 1000: has no annotation"):
        read_questions(*vqa_files(tmp_path, question_id=1001))
    with pytest.raises(ValueError, match=r"a\.json, question 1000"):
        read_questions(*vqa_files(tmp_path, answers=[{"answer": 3}]))
    with pytest.raises(ValueError, match=r"a\.json, question 1000: expected 10 answers, received 9"):
        read_questions(*vqa_files(tmp_path, answers=[{"answer": "dog"}] * 9))
    questions, annotations = vqa_files(tmp_path)
    write(questions, {"questions": [{"question_id": 1000, "question": "What is it?"}]})
    with pytest.raises(ValueError, match=r"q\.json, question 1000: field 'image_id' is missing"):
        read_questions(questions, annotations)
    write(annotations, {"annotations": ["dog"]})
    with pytest.raises(ValueError, match=r"a\.json, question at place 0: expected an object, received str"):
        read_questions(questions, annotations)


def test_a_question_or_an_annotation_that_is_there_twice_or_on_another_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"q\.json, question 1000: is on photo 1, its annotation in .*a\.json on 2$"):
        read_questions(*vqa_files(tmp_path, image_id=2))
    for name, section in (("q.json", "questions"), ("a.json", "annotations")):
        vqa_files(tmp_path)
        content = json.loads((tmp_path / name).read_text())
        write(tmp_path / name, {section: content[section] * 2})
        with pytest.raises(ValueError, match=rf"{name}, question 1000: listed twice"):
            read_questions(tmp_path / "q.json", tmp_path / "a.json")


def test_visual_genome_objects_get_their_attributes(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "7.jpg")
    box = {"object_id": 70, "x": 5, "y": 6, "w": 10, "h": 20, "names": ["Dog"], "synsets": ["dog.n.01"]}
    bare = {"object_id": 71, "x": 1, "y": 1, "w": 2, "h": 2, "names": ["ball"], "synsets": []}
    objects = write(tmp_path / "objects.json", [{"image_id": 7, "objects": [box, bare]}])
    attributes = write(
        tmp_path / "attributes.json",
        [{"image_id": 7, "attributes": [box | {"attributes": ["Brown", "big ", "brown"]}, bare]}],
    )
    (read,) = read_visual_genome(objects, attributes, PhotoSet("vg", tmp_path, "train"))
    assert (read.photo_id, read.width, read.height) == ("vg/7", 50, 40)
    assert read.objects == (
        ObjectBox((5, 6, 15, 26), "dog", ("brown", "big")),
        ObjectBox((1, 1, 3, 3), "ball"),
    )
    nameless = write(tmp_path / "objects.json", [{"image_id": 7, "objects": [box | {"names": []}]}])
    with pytest.raises(ValueError, match=r"objects\.json, image 7: list index out of range"):
        read_visual_genome(nameless, None, PhotoSet("vg", tmp_path, "train"))
    with pytest.raises(ValueError, match=r"objects\.json, image 8: Cannot decode .*8\.jpg"):
        read_visual_genome(
            write(tmp_path / "objects.json", [{"image_id": 8, "objects": []}]), None, PhotoSet("vg", tmp_path, "train")
        )
    with pytest.raises(ValueError, match=r"attributes\.json, image at place 0: expected an object"):
        read_visual_genome(objects, write(attributes, ["brown"]), PhotoSet("vg", tmp_path, "train"))
    del box["names"]
    broken = write(tmp_path / "objects.json", [{"image_id": 7, "objects": [box]}])
    with pytest.raises(ValueError, match=r"objects\.json, image 7: field 'names' is missing"):
        read_visual_genome(broken, None, PhotoSet("vg", tmp_path, "train"))


def test_daquar_gives_a_tenth_of_its_training_photos_to_validation(tmp_path: Path) -> None:
    rows = []
    for number in range(30):
        Image.new("RGB", (8, 6)).save(tmp_path / f"image{number}.jpg")
        split = "test" if number < 10 else "train"
        rows.append({"image": f"image{number}.jpg", "question": "what is it ?", "answers": ["a", "b"], "split": split})
    records = read_daquar(write(tmp_path / "qa.json", rows), tmp_path)
    counted = {split: sum(one.split == split for one in records) for split in ("train", "val", "test")}
    assert counted == {"train": 18, "val": 2, "test": 10}
    assert records[3].questions == (Question(3, "what is it ?", ("a", "b")),)
    assert all(one.split != "val" for one in records[:10])


def test_the_validation_photos_do_not_depend_on_the_order() -> None:
    names = [f"image{number}.jpg" for number in range(100)]
    assert validation_photos(names) == validation_photos(names[::-1])
    assert len(validation_photos(names)) == 10


def test_texts_of_held_out_photos_are_dropped_by_id_and_by_sentences() -> None:
    one = "A black dog runs over the green grass."
    two = "The dog has a red ball in its mouth."
    short = "A dog runs."
    records = [
        record("coco/1", "train", (one, two)),
        record("coco/2", "test"),
        record("flickr8k/33_ab.jpg", "val", (one, two, short)),
    ]
    texts = [
        PhotoText("coco/1", ("A dog.",)),
        PhotoText("coco/2", ("A cat.",)),
        PhotoText("coco/3", (one, short)),
        PhotoText("coco/4", (one.upper(), two)),
        PhotoText("flickr30k/33.jpg", ("Something else.",)),
        PhotoText("flickr30k/34.jpg", (short, short)),
    ]
    kept = [text.photo_id for text in drop_held_out(texts, records)]
    assert kept == ["coco/1", "coco/3", "flickr30k/34.jpg"]
    others = [text.photo_id for text in drop_photos(texts, records[:1])]
    assert others == ["coco/2", "coco/3", "flickr30k/33.jpg", "flickr30k/34.jpg"]


def test_text_files_become_captions_and_questions(tmp_path: Path) -> None:
    write(tmp_path / "coco_captions.json.gz", {"annotations": [{"image_id": 1, "caption": "A dog."}]})
    write(tmp_path / "flickr30k_captions.json.gz", {"9.jpg": {"captions": ["A man."]}})
    write(
        tmp_path / "vsr.json.gz",
        [{"image_id": 1, "caption": "It is left.", "label": 1}, {"image_id": 1, "caption": "No.", "label": 0}],
    )
    asked = {"question_id": 5, "image_id": 2, "question": "What?", "answers": {"tea": 9, "cup": 1}}
    write(tmp_path / "vqa_v2_60k.json.gz", [asked])
    write(tmp_path / "coco_qa.json.gz", {"rows": [[2, "how many dogs", "two", 1, None]]})
    dogs, man, tea = load_text_only(tmp_path, [])
    assert dogs == PhotoText("coco/1", ("A dog.", "It is left."))
    assert man == PhotoText("flickr30k/9.jpg", ("A man.",))
    assert [question.answers for question in tea.questions] == [("tea",) * 9 + ("cup",), ("two",)]
    assert (tea.questions[1].answer_type, tea.questions[1].question_type) == ("number", "coco_qa")
