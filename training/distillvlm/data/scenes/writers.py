"""Annotations of generated scenes in the formats of COCO, VQA v2 and Visual Genome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillvlm.data.records import Question
from distillvlm.data.scenes.layout import Thing

PER_IMAGE = 100  # numbers of captions, questions and objects are the image's number times this, and on


@dataclass(frozen=True)
class Annotated:
    """A drawn scene and what is said of it; `file_name` within the split's images, sizes in pixels."""

    image_id: int
    file_name: str
    height: int
    width: int
    things: tuple[Thing, ...]
    captions: tuple[str, ...]
    questions: tuple[Question, ...]

    def bbox(self, thing: Thing) -> list[float]:
        """x, y, width, height in pixels."""
        x1, y1, x2, y2 = thing.box
        box = (x1 * self.width, y1 * self.height, (x2 - x1) * self.width, (y2 - y1) * self.height)
        return [round(value, 2) for value in box]


def write_annotations(folder: Path, scenes: Sequence[Annotated], categories: Sequence[str]) -> None:
    """captions.json, instances.json (COCO), questions.json, annotations.json (VQA v2), objects.json and
    attributes.json (Visual Genome)."""
    images = [
        {"id": scene.image_id, "file_name": scene.file_name, "width": scene.width, "height": scene.height}
        for scene in scenes
    ]
    contents = {
        "captions": {"images": images, "annotations": _captions(scenes)},
        "instances": {
            "images": images,
            "annotations": _instances(scenes, categories),
            "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
        },
        "questions": {"questions": _questions(scenes)},
        "annotations": {"annotations": _answers(scenes)},
        "objects": [{"image_id": scene.image_id, "objects": _objects(scene, False)} for scene in scenes],
        "attributes": [{"image_id": scene.image_id, "attributes": _objects(scene, True)} for scene in scenes],
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def _captions(scenes: Sequence[Annotated]) -> list[dict[str, Any]]:
    return [
        {"id": scene.image_id * PER_IMAGE + number, "image_id": scene.image_id, "caption": caption}
        for scene in scenes
        for number, caption in enumerate(scene.captions)
    ]


def _instances(scenes: Sequence[Annotated], categories: Sequence[str]) -> list[dict[str, Any]]:
    annotations = []
    for scene in scenes:
        for number, thing in enumerate(scene.things):
            box = scene.bbox(thing)
            annotations.append(
                {
                    "id": scene.image_id * PER_IMAGE + number,
                    "image_id": scene.image_id,
                    "category_id": categories.index(thing.category) + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                }
            )
    return annotations


def _questions(scenes: Sequence[Annotated]) -> list[dict[str, Any]]:
    return [
        {"question_id": question.question_id, "image_id": scene.image_id, "question": question.text}
        for scene in scenes
        for question in scene.questions
    ]


def _answers(scenes: Sequence[Annotated]) -> list[dict[str, Any]]:
    return [
        {
            "question_id": question.question_id,
            "image_id": scene.image_id,
            "question_type": question.question_type,
            "answer_type": question.answer_type,
            "multiple_choice_answer": max(question.answers, key=question.answers.count),
            "answers": [
                {"answer_id": number, "answer": answer, "answer_confidence": "yes"}
                for number, answer in enumerate(question.answers, 1)
            ],
        }
        for scene in scenes
        for question in scene.questions
    ]


def _objects(scene: Annotated, with_attributes: bool) -> list[dict[str, Any]]:
    objects = []
    for number, thing in enumerate(scene.things):
        x, y, width, height = scene.bbox(thing)
        entry = {"object_id": scene.image_id * PER_IMAGE + number, "names": [thing.category], "synsets": []}
        entry |= {"x": x, "y": y, "w": width, "h": height}
        objects.append(entry | ({"attributes": list(thing.attributes)} if with_attributes else {}))
    return objects
