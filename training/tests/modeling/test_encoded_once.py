"""A model that looks up what it has encoded says what the model itself says, whatever comes beside it in a batch."""

import pytest
import torch
from torch import Tensor

from distillvlm.modeling.encoded_once import EncodedOnce
from distillvlm.modeling.vision_language import Prefix, TextStates, VisionLanguageModel

from .tiny import tiny_model, tiny_regions

WORDS = torch.tensor([[[2, 7, 8, 9], [2, 10, 0, 0]], [[2, 11, 0, 0], [0, 0, 0, 0]], [[2, 12, 13, 0], [2, 7, 8, 0]]])
QUESTIONS = torch.tensor([[[2, 7, 8, 3], [2, 9, 3, 0]], [[2, 10, 11, 3], [0, 0, 0, 0]], [[2, 7, 3, 0], [2, 9, 3, 0]]])
CLOSE = {"atol": 2e-3, "rtol": 2e-3}  # kept in fp16


def encode(model: VisionLanguageModel | EncodedOnce, kind: str, prefix: Prefix, tokens: Tensor) -> TextStates:
    states: TextStates = getattr(model, f"encode_{kind}")(prefix, tokens)
    return states


def assert_same(ours: TextStates, theirs: TextStates, tokens: Tensor, parts: int) -> None:
    present = torch.cat([tokens != 0] * parts, dim=-1)
    torch.testing.assert_close(ours.hidden[present], theirs.hidden[present], **CLOSE)
    ours_BNSH, theirs_BNSH = (each.attention.permute(0, 2, 3, 1, 4) for each in (ours, theirs))
    torch.testing.assert_close(ours_BNSH[present], theirs_BNSH[present], **CLOSE)


@pytest.mark.parametrize(("kind", "tokens", "parts"), [("captions", WORDS, 2), ("questions", QUESTIONS, 1)])
def test_it_equals_the_model_on_new_and_on_known_texts(kind: str, tokens: Tensor, parts: int) -> None:
    model, regions = tiny_model(), tiny_regions()
    known = EncodedOnce(model)
    expected_prefix = model.encode_prefix(regions)
    expected = encode(model, kind, expected_prefix, tokens)
    part = torch.tensor([2, 0])
    first = known.encode_prefix(regions[part])
    encode(known, kind, first, tokens[part, :1, :3])  # shorter texts, some cut off, other places
    for _ in range(2):
        prefix = known.encode_prefix(regions)
        torch.testing.assert_close(prefix.hidden[prefix.mask], expected_prefix.hidden[prefix.mask], **CLOSE)
        torch.testing.assert_close(prefix.attention, expected_prefix.attention, **CLOSE)
        assert torch.equal(prefix.mask, expected_prefix.mask)
        assert_same(encode(known, kind, prefix, tokens), expected, tokens, parts)


def test_what_is_known_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, regions = tiny_model(), tiny_regions()
    known = EncodedOnce(model)
    known.encode_captions(known.encode_prefix(regions), WORDS)
    known.encode_questions(known.encode_prefix(regions), QUESTIONS)
    encoded: list[int] = []
    whole = model.encode_questions
    monkeypatch.setattr(model, "encode_captions", None)
    monkeypatch.setattr(
        model, "encode_questions", lambda prefix, tokens: encoded.append(tokens.numel()) or whole(prefix, tokens)
    )
    turned = torch.tensor([1, 2, 0])
    known.encode_captions(known.encode_prefix(regions[turned]), WORDS[turned])
    known.encode_questions(known.encode_prefix(regions[turned]), QUESTIONS[turned].flip(1))
    assert encoded == []
    another = torch.cat([QUESTIONS, QUESTIONS.new_zeros(3, 1, 4)], dim=1)
    another[1, 2, :3] = torch.tensor([2, 21, 3])
    known.encode_questions(known.encode_prefix(regions), another)
    assert encoded == [3]  # one photo, one text, three tokens


def test_the_same_words_of_another_photo_and_of_another_kind_are_other_texts() -> None:
    model, regions = tiny_model(), tiny_regions()
    known = EncodedOnce(model)
    tokens = torch.tensor([[[2, 7, 8, 3]]]).expand(3, 1, 4)
    for kind, parts in (("questions", 1), ("captions", 2)):
        ours = encode(known, kind, known.encode_prefix(regions), tokens)
        assert_same(ours, encode(model, kind, model.encode_prefix(regions), tokens), tokens, parts)


def test_masked_tags_and_texts_without_photos_are_passed_on() -> None:
    model, regions = tiny_model(), tiny_regions()
    known = EncodedOnce(model)
    masked = torch.full_like(model.tokens_of_tags(regions.tags), 4)
    assert torch.equal(known.encode_prefix(regions, masked).hidden, model.encode_prefix(regions, masked).hidden)
    alone = known.encode_questions(known.no_prefix(3), QUESTIONS)
    assert torch.equal(alone.hidden, model.encode_questions(model.no_prefix(3), QUESTIONS).hidden)
