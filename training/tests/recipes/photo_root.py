"""A data root of drawn pictures, laid out as `data/photos.py` says, with enough of everything for a recipe to run."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ANIMALS, COLOURS, PLACES = ("dog", "cat", "horse"), ("red", "blue"), ("beach", "street")
TOLD_AGAIN = 3  # a training photo of Flickr8k's that the texts without photos tell of
CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(("person", *ANIMALS), 1)]


def write_photo_root(root: Path) -> None:
    """36 photos of Flickr8k (24 to train), 12 of COCO (8), 6 of DAQUAR (4), and texts without photos."""
    numbers = count()
    flickr = [_picture(root / f"flickr8k/images/{n}_a.jpg", n) for n in (next(numbers) for _ in range(36))]
    karpathy = [
        {"filename": f"{n}_a.jpg", "split": _split(place, 36), "sentences": [{"raw": text} for text in _captions(n)]}
        for place, n in enumerate(flickr)
    ]
    _write(root / "flickr8k/dataset_flickr8k.json", {"images": karpathy})
    _write(root / "flickr8k/pseudo_instances.json", _boxes([(n, f"{n}_a.jpg") for n in flickr], 0.9))

    coco = [_picture(root / f"coco/images/{n}.jpg", n) for n in (next(numbers) for _ in range(12))]
    splits: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for place, n in enumerate(coco):
        splits[_split(place, 12)].append(n)
    _write(root / "coco/splits.json", splits)
    named = [(n, f"{n}.jpg") for n in coco]
    _write(root / "coco/instances.json", _boxes(named, None))
    _write(root / "coco/pseudo_instances.json", _boxes(named, 0.8))
    captions = [
        {"id": 10 * n + place, "image_id": n, "caption": text} for n in coco for place, text in enumerate(_captions(n))
    ]
    _write(root / "coco/captions.json", {"images": _boxes(named, None)["images"], "annotations": captions})
    _write(root / "coco/vqa_questions.json", {"questions": [_question(n) for n in coco]})
    _write(root / "coco/vqa_annotations.json", {"annotations": [_answers(n) for n in coco]})

    indoor = [_picture(root / f"daquar/images/image{n}.jpg", n) for n in (next(numbers) for _ in range(6))]
    rows = [
        {"image": f"image{n}.jpg", "question": "what is in it ?", "answers": [_animal(n)], "split": split}
        for n, split in zip(indoor, ("train",) * 4 + ("test",) * 2, strict=True)
    ]
    _write(root / "daquar/qa.json", rows)
    _write(root / "daquar/pseudo_instances.json", _boxes([(n, f"image{n}.jpg") for n in indoor], 0.7))
    _write_texts(root / "text", (next(numbers) for _ in range(40)))


def _write_texts(folder: Path, numbers: Iterator[int]) -> None:
    there, strangers = [], list(numbers)
    for n in strangers[:20]:
        there += [{"id": 10 * n + place, "image_id": n, "caption": text} for place, text in enumerate(_captions(n))]
    _write(folder / "coco_captions.json", {"annotations": there})
    twins = [TOLD_AGAIN, *strangers[20:]]
    _write(folder / "flickr30k_captions.json", {f"{n}.jpg": {"captions": _captions(n)} for n in twins})
    _write(folder / "vsr.json", [{"id": 1, "image_id": strangers[0], "caption": "The dog is left of it.", "label": 1}])
    asked = [{**_question(n), "answers": {_animal(n): 7, "thing": 3}} for n in strangers[:20]]
    _write(folder / "vqa_v2_60k.json", asked)
    _write(folder / "coco_qa.json", {"rows": [[strangers[0], "what is there", "dog", 0, None]]})


def _picture(path: Path, number: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
    pixels[8:48, 8:48] = (220, 20, 20) if number % 2 else (20, 20, 220)
    Image.fromarray(pixels).save(path)
    return number


def _animal(number: int) -> str:
    return ANIMALS[number % 3]


def _captions(number: int) -> list[str]:
    animal, colour, place = _animal(number), COLOURS[number % 2], PLACES[number // 2 % 2]
    return [
        f"A {colour} {animal} runs on the {place}.",
        f"the {animal} is {colour}",
        f"a man and a {animal}",
        f"{animal} in {colour}",
        f"Two men see a {colour} {animal}, number {number}",
    ]


def _boxes(named: list[tuple[int, str]], score: float | None) -> dict[str, Any]:
    images = [{"id": n, "file_name": name, "width": 64, "height": 64} for n, name in named]
    annotations: list[dict[str, Any]] = [
        {"id": n, "image_id": n, "category_id": 2 + n % 3, "bbox": [8, 8, 40, 40]} for n, _ in named
    ]
    for annotation in annotations:
        annotation |= {} if score is None else {"score": score}
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def _question(number: int) -> dict[str, Any]:
    return {"question_id": 1000 * number, "image_id": number, "question": "What animal is it?"}


def _answers(number: int) -> dict[str, Any]:
    answers = [{"answer": _animal(number)}] * 8 + [{"answer": "thing"}] * 2
    kinds = {"answer_type": "other", "question_type": "what animal is"}
    return {"question_id": 1000 * number, "image_id": number, "answers": answers, **kinds}


def _split(place: int, photos: int) -> str:
    return "train" if place < photos * 2 // 3 else "val" if place < photos * 5 // 6 else "test"


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
