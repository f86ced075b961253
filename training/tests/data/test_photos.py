"""The data root as a whole, drawn small; and attributes from captions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from distillvlm.data.caption_attributes import ATTRIBUTES, add_caption_attributes
from distillvlm.data.photos import load_photos, merge_photos
from distillvlm.data.records import ObjectBox, Record

CATEGORIES = [{"id": 1, "name": "dog"}]


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)


def boxes(names: dict[int, str], x: float, score: float | None = None) -> dict[str, Any]:
    images = [{"id": key, "file_name": name, "width": 20, "height": 10} for key, name in names.items()]
    annotations: list[dict[str, Any]] = [
        {"id": key, "image_id": key, "category_id": 1, "bbox": [x, 0, 4, 4]} for key in names
    ]
    for annotation in annotations:
        annotation |= {} if score is None else {"score": score}
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("flickr8k/images/1_a.jpg", "coco/images/5.jpg", "coco/images/6.jpg", "daquar/images/image1.jpg"):
        picture(tmp_path / name)
    karpathy = [{"filename": "1_a.jpg", "split": "val", "sentences": [{"raw": "A dog ."}]}]
    write(tmp_path / "flickr8k/dataset_flickr8k.json", {"images": karpathy})
    write(tmp_path / "flickr8k/pseudo_instances.json", boxes({1: "1_a.jpg"}, 3, 0.6))
    coco = tmp_path / "coco"
    write(coco / "splits.json", {"train": [5], "val": [], "test": [6]})
    write(coco / "instances.json", boxes({5: "5.jpg"}, 1))
    write(coco / "pseudo_instances.json", boxes({5: "5.jpg", 6: "6.jpg"}, 2, 0.7))
    captioned = {"images": boxes({5: "5.jpg"}, 0)["images"]}
    write(coco / "captions.json", captioned | {"annotations": [{"id": 1, "image_id": 5, "caption": "Dog."}]})
    asked = [{"question_id": 60 + n, "image_id": n, "question": "What?"} for n in (5, 6)]
    write(coco / "vqa_questions.json", {"questions": asked})
    answered = [{"question_id": 60 + n, "image_id": n, "answers": [{"answer": "dog"}] * 10} for n in (5, 6)]
    write(coco / "vqa_annotations.json", {"annotations": answered})
    write(tmp_path / "text/coco_qa.json", {"rows": [[n, "what is here", "dog", 0, None] for n in (5, 6)]})
    daquar = {"image": "image1.jpg", "question": "what ?", "answers": ["bed"], "split": "train"}
    write(tmp_path / "daquar/qa.json", [daquar])
    write(tmp_path / "daquar/pseudo_instances.json", boxes({1: "image1.jpg"}, 3, 0.3))
    return tmp_path


def test_a_data_root_becomes_one_list_of_records(root: Path) -> None:
    flickr, human, machine, indoor = load_photos(root, min_score=0.5)
    assert [one.photo_id for one in (flickr, human, machine, indoor)] == [
        "flickr8k/1_a.jpg", "coco/5", "coco/6", "daquar/image1.jpg"
    ]  # fmt: skip
    assert (flickr.split, flickr.captions, flickr.objects[0].score) == ("val", ("A dog .",), 0.6)
    assert human.objects == (ObjectBox((1, 0, 5, 4), "dog"),)
    assert machine.objects == (ObjectBox((2, 0, 6, 4), "dog", score=0.7),)
    assert indoor.objects == ()
    assert [question.question_type for question in human.questions] == ["", "coco_qa"]
    assert [question.question_id for question in machine.questions] == [66]


def test_a_root_without_coco_qa_is_read_without_it(root: Path) -> None:
    (root / "text/coco_qa.json").unlink()
    assert [len(one.questions) for one in load_photos(root)] == [0, 1, 1, 1]


def test_missing_photos_are_counted_and_the_first_is_named(root: Path) -> None:
    (root / "coco/images/6.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 photos are missing, the first is .*6\.jpg"):
        load_photos(root)


def test_photos_that_differ_between_files_are_an_error() -> None:
    one = Record("coco/1", Path("1.jpg"), 20, 10, "train", "coco")
    with pytest.raises(ValueError, match="Photo coco/1: expected width 20 but received 30"):
        merge_photos([one], [replace(one, width=30)])
    with pytest.raises(ValueError, match="expected split train but received test"):
        merge_photos([one], [replace(one, split="test")])


def mined(caption: str, *labels: str, score: float = 1.0) -> list[tuple[str, ...]]:
    objects = tuple(ObjectBox((0, 0, 5, 5), label, score=score) for label in labels)
    record = Record("coco/1", Path("1.jpg"), 20, 10, "train", "coco", (caption,), objects=objects)
    (read,) = add_caption_attributes([record])
    return [thing.attributes for thing in read.objects]


@pytest.mark.parametrize(
    ("caption", "label", "expected"),
    [
        ("A brown dog runs.", "dog", ("brown",)),
        ("A big, black and white puppy", "dog", ("black", "white", "big")),
        ("A gray sofa by a large table", "couch", ("grey",)),
        ("A gray sofa by a large table", "dining table", ("big",)),
        ("A red fire hydrant", "fire hydrant", ("red",)),
        ("A brown teddy bear", "bear", ()),
        ("A brown teddy bear", "teddy bear", ("brown",)),
        ("A dog and a brown cat", "dog", ()),
        ("Dog", "dog", ()),
        ("Two brown dogs", "dog", ()),
        ("A little white girl", "person", ("small",)),
    ],
)
def test_words_directly_before_a_class_describe_its_box(caption: str, label: str, expected: tuple[str, ...]) -> None:
    assert mined(caption, label) == [expected]


def test_two_boxes_of_a_class_or_an_uncertain_one_get_nothing() -> None:
    assert mined("A brown dog runs.", "dog", "dog") == [(), ()]
    assert mined("A brown dog runs.", "dog", score=0.3) == [()]


def test_the_attribute_words_are_few_and_different() -> None:
    assert len(set(ATTRIBUTES)) == len(ATTRIBUTES) <= 40
