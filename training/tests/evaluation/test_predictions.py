"""Captions and answers are predicted in the layout in which a model was trained."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distillvlm.data.records import Question, Record
from distillvlm.data.region_store import RegionStore
from distillvlm.evaluation.predictions import BeamSettings, answer_questions, caption_photos, question_tokens
from distillvlm.modeling.layouts import DenseLayout, Layout, OscarLayout
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.language import ModelSize, new_model
from tests.data.photo_set import photo_records, region_store, words

WORDS = words()
LAYOUTS = (DenseLayout(), DenseLayout("full"), OscarLayout())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], RegionStore]:
    folder: Path = tmp_path_factory.mktemp("photos")
    records = photo_records(folder)
    return records, region_store(folder / "store", records)


@pytest.fixture
def model() -> VisionLanguageModel:
    model = new_model(ModelSize(16, 2, 4, 32), WORDS, 2, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_are_those_of_the_layouts_own_states(
    photos: tuple[list[Record], RegionStore], model: VisionLanguageModel, layout: Layout
) -> None:
    records, store = photos
    asked: list[torch.Tensor] = []
    model.answer_head.register_forward_hook(lambda _, __, output: asked.append(output[:, 0]))
    answers = answer_questions(model, store, records, WORDS, layout=layout)
    with torch.no_grad():
        regions = store.regions([record.photo_id for record in records])
        tokens = question_tokens([record.questions[0] for record in records], WORDS, 64)
        logits = model.answer_logits(model.pool(layout.encode_questions(model, regions, tokens[:, None])))[:, 0]
    torch.testing.assert_close(asked[0], logits)
    assert answers["test"] == {place: WORDS.answers[best] for place, best in enumerate(logits.argmax(-1).tolist())}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_question_is_answered_as_if_it_were_its_photos_only_one(
    photos: tuple[list[Record], RegionStore], model: VisionLanguageModel, layout: Layout
) -> None:
    records, store = photos
    texts = ("is the tree left of the dog, or the dog of the tree?", "the tree?", "right?")
    others = [Question(100 + number, text, ("no",)) for number, text in enumerate(texts)]
    asked = [
        replace(record, questions=(*others[place:], *record.questions))
        for place, record in zip((0, 2, 3, 3, 1, 3), records, strict=True)
    ]
    asked = [
        replace(record, questions=tuple(replace(q, question_id=10 * place + n) for n, q in enumerate(record.questions)))
        for place, record in enumerate(asked)
    ]
    alone = [replace(record, questions=(question,)) for record in asked for question in record.questions]
    seen: list[torch.Tensor] = []
    handle = model.answer_head.register_forward_hook(lambda _, __, logits: seen.append(logits.flatten(0, -2)))
    answer_questions(model, store, alone, WORDS, batch_size=1, layout=layout)
    handle.remove()
    with torch.no_grad():
        model.answer_head.bias.sub_(torch.cat(seen).mean(0))  # so that questions differ in their answers
    together = answer_questions(model, store, asked, WORDS, batch_size=4, layout=layout)
    assert together == answer_questions(model, store, alone, WORDS, batch_size=1, layout=layout)
    assert len(set(together["test"].values())) > 1


def test_layouts_differ(photos: tuple[list[Record], RegionStore], model: VisionLanguageModel) -> None:
    records, store = photos
    regions = store.regions([record.photo_id for record in records])
    tokens = question_tokens([record.questions[0] for record in records], WORDS, 64)[:, None]
    with torch.no_grad():
        pooled = [model.pool(layout.encode_questions(model, regions, tokens)) for layout in LAYOUTS]
    assert all((pooled[one] - pooled[other]).abs().max() > 1e-3 for one, other in ((0, 1), (0, 2), (1, 2)))


def test_photos_are_captioned_in_each_layout_and_without_photos_in_none(
    photos: tuple[list[Record], RegionStore], model: VisionLanguageModel
) -> None:
    records, store = photos
    photo_ids = [record.photo_id for record in records]
    beam = BeamSettings(num_beams=2, max_tokens=4)
    dense, oscar = (caption_photos(model, store, photo_ids, WORDS, beam, layout) for layout in (LAYOUTS[0], LAYOUTS[2]))
    assert dense == caption_photos(model, store, photo_ids, WORDS, beam)
    assert dense != oscar
    blind = caption_photos(model, None, photo_ids, WORDS, beam, OscarLayout())
    assert len(set(blind.values())) == 1
