"""A handful of generated photos with captions and questions, and a region store over them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from distillvlm.data.records import Question, Record
from distillvlm.data.region_store import RegionStore, extract_regions
from distillvlm.data.words import Words, collect_words
from distillvlm.structures.regions import Regions

TAGS = ("dog", "traffic light", "cat")


def photo_records(folder: Path, count: int = 6) -> list[Record]:
    """Photo i is a plain grey of level 40 i; photo 0 has five captions, the others two; each has a question."""
    records = []
    for index in range(count):
        path = folder / f"{index}.png"
        Image.fromarray(np.full((8, 8, 3), 40 * index, np.uint8)).save(path)
        captions = tuple(f"a dog number {index} sits left of the tree" for _ in range(5 if index == 0 else 2))
        question = Question(index, "is the dog on the left?", ("left",) * 7 + ("right",) * 3)
        records.append(Record(f"test/{index}", path, 8, 8, "train", "test", captions, (question,)))
    return records


def words() -> Words:
    texts = ["a dog number 0 1 2 3 4 5 sits left of the tree", "is the dog on the left or right?"]
    return collect_words(texts[:1], texts[1:], TAGS, ("left", "right", "no"), min_count=1)


def describe(pixels_BHW3: Tensor, records: list[Record], view: int) -> Regions:
    """Features tell the photo's grey and the view."""
    grey_B = pixels_BHW3.float().mean((1, 2, 3))
    features_B24 = torch.stack([grey_B, torch.full_like(grey_B, view)], -1)[:, None].expand(-1, 2, -1)
    batch = len(pixels_BHW3)
    return Regions(
        boxes=torch.tensor([[0.0, 0, 1, 1], [0, 0, 0.5, 0.5]]).expand(batch, -1, -1),
        features=features_B24,
        labels=torch.zeros(batch, 2, dtype=torch.long),
        attributes=torch.full((batch, 2), -1),
        scores=torch.full((batch, 2), 0.5),
        valid=torch.tensor([[True, False]]).expand(batch, -1),
        tags=torch.tensor([[0, -1]]).expand(batch, -1),
    )


def region_store(folder: Path, records: list[Record], views: int = 2) -> RegionStore:
    return extract_regions(describe, records, (8, 8), folder, key="test", views=views, batch_size=4)
