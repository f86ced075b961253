"""What a PyTorch model says of the photos of a region store."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

from distillvlm.data.records import Question, Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.words import Words
from distillvlm.modeling.generation import beam_search
from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel


@torch.no_grad()
def caption_photos(
    model: VisionLanguageModel,
    store: RegionStore | None,
    photo_ids: Sequence[str],
    words: Words,
    num_beams: int = 5,
    max_tokens: int = 20,
    length_penalty: float = 1.0,
    batch_size: int = 64,
) -> dict[str, str]:
    """The best caption of each photo; without a store a blind model says the same of all."""
    model.eval()
    captions: dict[str, str] = {}
    for start in tqdm(range(0, len(photo_ids), batch_size), desc="captions", unit="batch", mininterval=1.0):
        chosen = photo_ids[start : start + batch_size]
        prefix = _prefix(model, store, chosen)
        tokens = beam_search(model, prefix, num_beams, max_tokens, length_penalty).tokens[:, 0]
        for photo_id, row in zip(chosen, tokens.tolist(), strict=True):
            captions[photo_id] = words.tokenizer.decode(row)
    return captions


@torch.no_grad()
def answer_questions(
    model: VisionLanguageModel,
    store: RegionStore | None,
    records: Sequence[Record],
    words: Words,
    max_tokens: int = 64,
    batch_size: int = 64,
) -> dict[str, dict[int, str]]:
    """The most likely answer to each question of the records, by data set and question id."""
    model.eval()
    asked = [(record, question) for record in records for question in record.questions]
    answers: dict[str, dict[int, str]] = {record.source: {} for record in records}
    for start in tqdm(range(0, len(asked), batch_size), desc="answers", unit="batch", mininterval=1.0):
        chosen = asked[start : start + batch_size]
        prefix = _prefix(model, store, [record.photo_id for record, _ in chosen])
        tokens = question_tokens([question for _, question in chosen], words, max_tokens).to(prefix.mask.device)
        logits = model.answer_logits(model.pool(model.encode_questions(prefix, tokens[:, None])))[:, 0]
        for (record, question), best in zip(chosen, logits.argmax(-1).tolist(), strict=True):
            answers[record.source][question.question_id] = words.answers[best]
    return answers


def question_tokens(questions: Sequence[Question], words: Words, max_tokens: int) -> torch.Tensor:
    """`[CLS] question [SEP]`, padded: int64 [Q, T]."""
    tokenizer = words.tokenizer
    rows = [tokenizer.encode_question(q.text, max_tokens) for q in questions]
    tokens = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_id)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
    return tokens


def _prefix(model: VisionLanguageModel, store: RegionStore | None, photo_ids: Sequence[str]) -> Prefix:
    if store is None:
        return model.no_prefix(len(photo_ids))
    return model.encode_prefix(store.regions(photo_ids).to(model.word_bias.device))
