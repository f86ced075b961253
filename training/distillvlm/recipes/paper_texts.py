"""What `paper` reads in pre-training: any mix of captions, questions and tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from distillvlm.data.records import Described
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_sources import TextSource, caption_source, question_source, tag_source
from distillvlm.recipes.paper_material import PaperMaterial
from distillvlm.recipes.paper_settings import TEXT_TOKENS, TextName

DescribedT = TypeVar("DescribedT", bound=Described)


def pretraining_sources(
    material: PaperMaterial, store: RegionStore, teacher_store: RegionStore | None
) -> list[TextSource]:
    """The texts of the recipe on photos of which both stores have regions. A source weighs as much as it has texts."""
    stores = [store] if teacher_store is None else [store, teacher_store]
    sources = [source for name in material.texts for source in _named(name, material, stores)]
    return [replace(source, weight=float(source.pool.size)) for source in sources]


def _named(name: TextName, material: PaperMaterial, stores: Sequence[RegionStore]) -> list[TextSource]:
    tokenizer = material.words.tokenizer

    def captions(photos: Iterable[Described], name: str) -> TextSource:
        return caption_source(_seen(photos, stores), tokenizer, TEXT_TOKENS - 1, name)  # [CLS] is not counted

    def questions(photos: Iterable[Described], name: str) -> TextSource:
        return question_source(_seen(photos, stores), tokenizer, TEXT_TOKENS, name)

    match name:
        case "captions":
            return [captions(material.training, name)]
        case "questions":
            return [questions(material.training, name)]
        case "gqa":
            return [questions(material.gqa, name)]
        case "tags":
            return [tag_source(_seen(material.boxed, stores), tokenizer, TEXT_TOKENS, name)]
        case "corpus":
            both = [captions(material.corpus, "corpus captions"), questions(material.corpus, "corpus questions")]
            return [source for source in both if source.pool.size]  # it may have one kind alone


def _seen(photos: Iterable[DescribedT], stores: Sequence[RegionStore]) -> list[DescribedT]:
    return [photo for photo in photos if all(photo.photo_id in store.row_of for store in stores)]
