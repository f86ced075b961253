"""What pre-training reads: any mix of captions, questions and tags, each source by name and weight.

Source: Li et al. 2020, arXiv:2004.06165, section 4 and appendix: captions with tags, questions of people (VQA) and of a
program (GQA) with their answers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from distillvlm.data.records import Described, Question, Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_batches import MixedBatches, TextBatches, TextPool, caption_pool, text_pool
from distillvlm.data.vocabulary import Tokenizer


@dataclass(frozen=True)
class TextSource:
    """weight: above 0; a source is read in weight / (sum of weights) of the steps. name: "captions", "gqa", ..."""

    name: str
    pool: TextPool
    weight: float = 1.0


def caption_source(
    photos: Iterable[Described],
    tokenizer: Tokenizer,
    max_tokens: int,
    name: str = "captions",
    weight: float = 1.0,
    allowed: Container[int] | None = None,
) -> TextSource:
    """Captions, of people or of a captioner: the model also learns to say them. allowed: see `caption_pool`."""
    return TextSource(name, caption_pool(photos, tokenizer, max_tokens, allowed), weight)


def question_source(
    photos: Iterable[Described], tokenizer: Tokenizer, max_tokens: int, name: str = "questions", weight: float = 1.0
) -> TextSource:
    """Questions, each followed by its most frequent answer: "what is it? dog"."""
    groups = ((photo.photo_id, [_with_answer(question) for question in photo.questions]) for photo in photos)
    return TextSource(name, text_pool(groups, tokenizer, max_tokens), weight)


def tag_source(
    records: Iterable[Record], tokenizer: Tokenizer, max_tokens: int, name: str = "tags", weight: float = 1.0
) -> TextSource:
    """The names of the boxes that annotators drew, each once, as one text a photo."""
    groups = (
        (record.photo_id, [" ".join(dict.fromkeys(box.label for box in record.objects))])
        for record in records
        if record.objects
    )
    return TextSource(name, text_pool(groups, tokenizer, max_tokens), weight)


def mix_sources(
    sources: Sequence[TextSource],
    tokenizer: Tokenizer,
    batch: tuple[int, int],
    steps: int,
    seed: int,
    store: RegionStore,
    teacher_store: RegionStore | None = None,
) -> MixedBatches[TextBatches]:
    """Batches of one source each, so that no text gives itself away as another photo's by its kind.

    batch: photos of a batch, texts of each photo. steps: of the whole training.
    Raises:
        ValueError: no sources, two of one name, a weight that is not above 0, too few photos for a batch, or photos
            without regions; names the source.
    """
    _check(sources, batch[0], store)
    parts = []
    for place, (source, share) in enumerate(zip(sources, _shares(sources, steps), strict=True)):
        if share:
            batches = TextBatches(source.pool, tokenizer, 0, *batch, seed + place, store, teacher_store)
            parts.append((batches, share))
    return MixedBatches(parts, seed)


def _with_answer(question: Question) -> str:
    most_frequent = max(question.answers, key=question.answers.count, default="")
    return f"{question.text} {question.majority or most_frequent}".strip()


def _check(sources: Sequence[TextSource], batch_size: int, store: RegionStore) -> None:
    if not sources:
        raise ValueError("text sources: expected at least one")
    repeated = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if repeated:
        raise ValueError(f"text sources: expected different names but {repeated[0]!r} is there twice")
    for source in sources:
        if not (source.weight > 0 and math.isfinite(source.weight)):
            raise ValueError(f"text source {source.name!r}: expected a weight above 0, received {source.weight}")
        if len(source.pool.texts) < batch_size:
            raise ValueError(
                f"text source {source.name!r}: expected at least {batch_size} photos, it has {len(source.pool.texts)}"
            )
        missing = [photo_id for photo_id in source.pool.photo_ids or () if photo_id not in store.row_of]
        if missing:
            raise ValueError(
                f"text source {source.name!r}: {len(missing)} of its photos have no regions, the first is {missing[0]}"
            )


def _shares(sources: Sequence[TextSource], steps: int) -> list[int]:
    """The steps of each source: its share rounded down, and the steps left over to the largest remainders."""
    total = sum(source.weight for source in sources)
    exact = [steps * source.weight / total for source in sources]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(sources)), key=lambda place: shares[place] - exact[place])
    for place in by_remainder[: steps - sum(shares)]:
        shares[place] += 1
    return shares
