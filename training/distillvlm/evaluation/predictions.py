"""What a PyTorch model says of the photos of a region store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from distillvlm.data.records import Question, Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.words import Words
from distillvlm.modeling.generation import beam_search
from distillvlm.modeling.layouts import DenseLayout, Layout
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.structures.regions import Regions

DENSE = DenseLayout()


@dataclass(frozen=True)
class BeamSettings:
    """How captions are searched for: beam 5 and 20 tokens are OSCAR's."""

    num_beams: int = 5
    max_tokens: int = 20
    length_penalty: float = 1.0


BEAM = BeamSettings()


@dataclass(frozen=True)
class Hypothesis:
    """A caption of a search; `score` is the rank that the search sorts by. Unfinished: it had no [SEP] yet."""

    caption: str
    score: float
    finished: bool


def caption_photos(
    model: VisionLanguageModel,
    store: RegionStore | None,
    photo_ids: Sequence[str],
    words: Words,
    beam: BeamSettings = BEAM,
    layout: Layout = DENSE,
) -> dict[str, str]:
    """The best caption of each photo; without a store a blind model says the same of all."""
    found = search_captions(model, store, photo_ids, words, beam, layout=layout)
    return {photo_id: best.caption for photo_id, (best, *_) in found}


def search_captions(
    model: VisionLanguageModel,
    store: RegionStore | None,
    photo_ids: Sequence[str],
    words: Words,
    beam: BeamSettings = BEAM,
    batch_size: int = 64,
    layout: Layout = DENSE,
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """Each photo with the captions that a beam search leaves, best first."""
    model.eval()
    for start in tqdm(range(0, len(photo_ids), batch_size), desc="captions", unit="batch", mininterval=1.0):
        chosen = photo_ids[start : start + batch_size]
        with torch.no_grad():
            regions = _regions(model, store, chosen)
            prefix = model.no_prefix(len(chosen)) if regions is None else layout.encode_photos(model, regions)
            found = beam_search(model, prefix, beam.num_beams, beam.max_tokens, beam.length_penalty)
        for photo_id, tokens, ranks in zip(chosen, found.tokens.tolist(), found.rank.tolist(), strict=True):
            yield (
                photo_id,
                [
                    Hypothesis(words.tokenizer.decode(row), rank, words.tokenizer.sep_id in row)
                    for row, rank in zip(tokens, ranks, strict=True)
                ],
            )


@torch.no_grad()
def answer_questions(
    model: VisionLanguageModel,
    store: RegionStore | None,
    records: Sequence[Record],
    words: Words,
    max_tokens: int = 66,  # 64 pieces are promised to users
    batch_size: int = 16,
    layout: Layout = DENSE,
) -> dict[str, dict[int, str]]:
    """The most likely answer to each question of the records, by data set and question id.

    batch_size: photos, each with all its questions. layout: that in which the model was trained, its questions'
    attention included.
    """
    model.eval()
    asked = [record for record in records if record.questions]
    answers: dict[str, dict[int, str]] = {record.source: {} for record in records}
    for start in tqdm(range(0, len(asked), batch_size), desc="answers", unit="batch", mininterval=1.0):
        chosen = asked[start : start + batch_size]
        questions = [question for record in chosen for question in record.questions]
        tokens, present_BN = _by_photo(question_tokens(questions, words, max_tokens), chosen)
        tokens = tokens.to(model.word_bias.device)
        regions = _regions(model, store, [record.photo_id for record in chosen])
        if regions is None:
            states = model.encode_questions(model.no_prefix(len(chosen)), tokens)
        else:
            states = layout.encode_questions(model, regions, tokens)
        best = model.answer_logits(model.pool(states)).argmax(-1).cpu()[present_BN].tolist()
        sources = [record.source for record in chosen for _ in record.questions]
        for source, question, row in zip(sources, questions, best, strict=True):
            answers[source][question.question_id] = words.answers[row]
    return answers


def question_tokens(questions: Sequence[Question], words: Words, max_tokens: int) -> torch.Tensor:
    """`[CLS] question [SEP]`, padded: int64 [Q, T]."""
    tokenizer = words.tokenizer
    rows = [tokenizer.encode_question(q.text, max_tokens) for q in questions]
    tokens = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_id)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
    return tokens


def _by_photo(tokens_QT: torch.Tensor, records: Sequence[Record]) -> tuple[torch.Tensor, torch.Tensor]:
    """The questions' tokens as [B, N, T], padded, and where there is a question: bool [B, N]."""
    counts = torch.tensor([len(record.questions) for record in records])
    present_BN = torch.arange(int(counts.max())) < counts[:, None]
    tokens_BNT = tokens_QT.new_zeros(*present_BN.shape, tokens_QT.shape[1])
    tokens_BNT[present_BN] = tokens_QT
    return tokens_BNT, present_BN


def _regions(model: VisionLanguageModel, store: RegionStore | None, photo_ids: Sequence[str]) -> Regions | None:
    return None if store is None else store.regions(photo_ids).to(model.word_bias.device)
