"""The data sets of the recipe of the paper, drawn small, and the recipe with networks as small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from distillvlm.data.vocabulary import bert_vocabulary
from distillvlm.modeling.checkpoints import BERT
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize
from distillvlm.recipes.paper import PaperRecipe
from distillvlm.recipes.paper_settings import COURSES, SCST, Beginning


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


def write_root(root: Path) -> None:
    """Four training photos and a test photo of COCO, one of Flickr30k; Visual Genome has four others, the test photo
    among them; two questions on photos that VQA v2's server knows the answers of."""
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
    write_photo_of_flickr(root / "flickr30k")
    write_unanswered(coco)
    checkpoint(root / "weights" / "minilm", 8)


def write_photo_of_flickr(folder: Path) -> None:
    picture(folder / "images" / "36.jpg", 1)
    said = [{"raw": "a box of a man"}] * 5
    write(folder / "dataset_flickr30k.json", {"images": [{"filename": "36.jpg", "split": "train", "sentences": said}]})


def write_unanswered(folder: Path) -> None:
    for number in (21, 22):
        picture(folder / "test2015" / f"{number}.jpg", number - 20)
    images = [{"id": number, "file_name": f"{number}.jpg", "width": 64, "height": 64} for number in (20, 21, 22)]
    write(folder / "image_info_test2015.json", {"images": images})
    asked = [{"question_id": 10 * n, "image_id": n, "question": "what colour is the box?"} for n in (21, 22)]
    write(folder / "v2_OpenEnded_mscoco_test-dev2015_questions.json", {"questions": asked})


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
        scst=replace(SCST, steps=2, batch=(2, 2)),
        least_answers=1,
    )
