"""Full sequences against Hugging Face's BERT, under a captioner's mask and none, and what sees what."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distillvlm.modeling.generation import beam_search
from distillvlm.modeling.layouts import DenseLayout, OscarLayout, dense_sequences, encode_sequences
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.structures.regions import Regions
from distillvlm.structures.sequences import Sequences, captioning_mask, pack_tags

from .tiny import tiny_model, tiny_regions
from .twin import hugging_face_twin, run_twin

OSCAR = OscarLayout(text_length=8, tags_length=6)
CLOSE = dict(atol=2e-5, rtol=1e-5)
# [CLS] .. [SEP] of three photos, two texts each.
TEXTS = torch.tensor(
    [
        [[2, 7, 8, 9, 3, 0], [2, 10, 3, 0, 0, 0]],
        [[2, 11, 12, 13, 14, 3], [2, 3, 0, 0, 0, 0]],
        [[2, 15, 4, 3, 0, 0], [2, 5, 6, 3, 0, 0]],
    ]
)


def oscar_sequences(model: VisionLanguageModel, regions: Regions, captions: bool, texts: Tensor = TEXTS) -> Sequences:
    tags = OSCAR.tags_of(model, regions)[:, None].expand(-1, texts.shape[1], -1)
    return OSCAR.sequences(texts, tags, model.lexicon.pad, captions)


def as_oscar_writes_it(
    model: VisionLanguageModel, regions: Regions, text: list[int], photo: int, captions: bool
) -> tuple[Tensor, Tensor, list[int]]:
    """One text and its photo, put together as OSCAR's tensorizers do: embedded tokens [1, S, D], mask [1, S, S] and the
    places that are no padding. A caption is padded to the whole of its places, another text not at all."""
    text = [token for token in text if token != 0]
    pieces = [token for token in model.tokens_of_tags(regions.tags)[photo].tolist() if token != 0]
    tags = [*pieces[: OSCAR.tags_length - 1], 3]
    gap = OSCAR.text_length - len(text) if captions else 0
    tokens = torch.tensor([[*text, *[0] * gap, *tags]])
    segments = torch.tensor([[*[0] * (len(text) + gap), *[1] * len(tags)]])
    words = hugging_face_twin(model).embeddings(tokens, token_type_ids=segments)
    sizes = regions.boxes[..., 2:] - regions.boxes[..., :2]
    inputs = torch.cat([regions.features, regions.boxes, sizes], -1)[photo]
    projected = model.region_norm(model.region_projection(inputs))[None]
    length, start = tokens.shape[1] + projected.shape[1], len(text) + gap
    present = [*range(len(text)), *range(start, tokens.shape[1])]
    present += [tokens.shape[1] + place for place in range(projected.shape[1]) if regions.valid[photo, place]]
    mask = torch.zeros(1, length, length, dtype=torch.bool)
    for row in present:
        for column in present:
            is_word, sees_word = row < start, column < start
            mask[0, row, column] = (is_word and column <= row) or not sees_word if captions else True
    return torch.cat([words, projected], dim=1), mask, present


@pytest.mark.parametrize("captions", [True, False])
@torch.no_grad()
def test_oscars_sequences_equal_hugging_face_bert_under_oscars_mask(captions: bool) -> None:
    model, regions = tiny_model(), tiny_regions()
    sequences = oscar_sequences(model, regions, captions)
    states = encode_sequences(model, sequences, regions)
    valid = torch.cat([sequences.text != 0, sequences.tags != 0, regions.valid[:, None].expand(-1, 2, -1)], dim=-1)
    for photo in range(3):
        for text in range(2):
            hidden, mask, present = as_oscar_writes_it(model, regions, TEXTS[photo, text].tolist(), photo, captions)
            expected, attention = run_twin(hugging_face_twin(model), hidden, mask)
            seen = valid[photo, text]
            torch.testing.assert_close(states.hidden[photo, text][seen], expected[0, present], **CLOSE)
            ours = states.attention[photo, :, text][:, seen][:, :, seen]
            torch.testing.assert_close(ours, attention[0][:, present][:, :, present], **CLOSE)


@torch.no_grad()
def test_full_attention_in_the_dense_layout_equals_hugging_face_bert_with_all_seeing_all() -> None:
    model, regions = tiny_model(), tiny_regions()
    states = DenseLayout("full").encode_questions(model, regions, TEXTS)
    tag_tokens = model.tokens_of_tags(regions.tags)
    tags = model.embed_text(tag_tokens, torch.arange(tag_tokens.shape[1]), token_type=1)
    for place in range(2):
        text = model.embed_text(TEXTS[:, place], torch.arange(6), token_type=0)
        hidden = torch.cat([text, tags, model.embed_regions(regions)], dim=1)
        present = torch.cat([TEXTS[:, place] != 0, tag_tokens != 0, regions.valid], dim=1)
        twin = hugging_face_twin(model)
        expected, attention = run_twin(twin, hidden, present[:, None, :].expand(-1, present.shape[1], -1))
        torch.testing.assert_close(states.hidden[:, place][present], expected[present], **CLOSE)
        ours = states.attention[:, :, place].transpose(1, 2)[present]
        torch.testing.assert_close(ours, attention.transpose(1, 2)[present], **CLOSE)
        torch.testing.assert_close(model.pool(states)[:, place], twin.pooler(expected), **CLOSE)


@torch.no_grad()
def test_prefix_attention_is_what_the_dense_layout_always_had() -> None:
    model, regions = tiny_model(), tiny_regions()
    states = DenseLayout().encode_questions(model, regions, TEXTS)
    expected = model.encode_questions(model.encode_prefix(regions), TEXTS)
    assert torch.equal(states.hidden, expected.hidden)
    assert torch.equal(DenseLayout().encode_photos(model, regions).hidden, model.encode_prefix(regions).hidden)


@torch.no_grad()
def test_a_caption_token_cannot_see_a_later_one_and_tags_and_regions_see_no_caption() -> None:
    model, regions = tiny_model(), tiny_regions()
    before = encode_sequences(model, oscar_sequences(model, regions, captions=True), regions).hidden
    for place in range(1, 6):
        texts = TEXTS.clone()
        texts[..., place] = 20
        after = encode_sequences(model, oscar_sequences(model, regions, True, texts), regions).hidden
        changed = (after - before).abs().amax(dim=(0, 1, 3)) > 1e-6
        assert not changed[:place].any()
        assert changed[place:6].all()
        assert not changed[6:].any()  # tags and regions


@torch.no_grad()
def test_captions_see_tags_and_regions_and_those_see_each_other() -> None:
    model, regions = tiny_model(), tiny_regions()
    before = encode_sequences(model, oscar_sequences(model, regions, captions=True), regions).hidden
    tags = replace(regions, tags=(regions.tags + 1) % 7)
    features = replace(regions, features=regions.features + 1)
    for other in (tags, features):
        after = encode_sequences(model, oscar_sequences(model, other, captions=True), other).hidden
        present = torch.tensor([True] * 6 + [True, False, False, False, False, False] + [True] * 3 + [False])
        assert ((after - before).abs().amax(dim=(0, 1, 3)) > 1e-6)[present].all()


@torch.no_grad()
def test_under_full_attention_every_token_sees_every_other() -> None:
    model, regions = tiny_model(), tiny_regions()
    sequences = dense_sequences(TEXTS, model.tokens_of_tags(regions.tags))
    before = encode_sequences(model, sequences, regions).hidden
    texts = TEXTS.clone()
    texts[:, :, 1] = 20
    after = encode_sequences(model, replace(sequences, text=texts), regions).hidden
    assert ((after - before).abs().amax(dim=-1) > 1e-6).all()


@torch.no_grad()
def test_generation_in_oscars_layout_equals_whole_sequences_without_a_cache() -> None:
    model, regions = tiny_model(seed=3), tiny_regions()
    captions = beam_search(model, OSCAR.encode_photos(model, regions), num_beams=1, max_tokens=6, length_penalty=1.0)
    words = torch.full((3, 1, 1), model.lexicon.cls)
    for step in range(captions.tokens.shape[-1]):
        asked = torch.cat([words, torch.full_like(words[..., :1], model.lexicon.mask)], dim=-1)
        hidden = encode_sequences(model, oscar_sequences(model, regions, True, asked), regions).hidden[:, :, step + 1]
        log_probabilities = model.caption_logits(hidden).log_softmax(-1)
        going = ~(words == model.lexicon.sep).any(-1)
        best, token = log_probabilities.max(-1)
        torch.testing.assert_close(captions.log_probabilities[..., step][going], best[going], **CLOSE)
        words = torch.cat([words, token[..., None]], dim=-1)
    ended = (words[..., 1:] == 3).cumsum(-1) - (words[..., 1:] == 3).long() > 0
    assert torch.equal(captions.tokens, words[..., 1:].masked_fill(ended, 0))


def test_captioning_mask_by_hand() -> None:
    words = [[1, 0, 1, 1], [1, 1, 1, 1]]
    others = [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert captioning_mask(2, 4).long().tolist() == [*words, *others]


@pytest.mark.parametrize(
    ("length", "expected"),
    [(6, [[7, 8, 9, 3, 0, 0], [3, 0, 0, 0, 0, 0]]), (3, [[7, 8, 3], [3, 0, 0]]), (4, [[7, 8, 9, 3], [3, 0, 0, 0]])],
)
def test_tags_are_packed_cut_and_ended(length: int, expected: list[list[int]]) -> None:
    assert pack_tags(torch.tensor([[7, 0, 8, 9], [0, 0, 0, 0]]), length, pad=0, sep=3).tolist() == expected


def test_positions_of_tags_begin_behind_a_captions_places_and_behind_another_text() -> None:
    texts, tags = TEXTS[:1], torch.zeros(1, 2, 3, dtype=torch.long)
    assert OSCAR.sequences(texts, tags, 0, captions=True).tag_positions.tolist() == [[[8, 9, 10], [8, 9, 10]]]
    assert OSCAR.sequences(texts, tags, 0).tag_positions.tolist() == [[[5, 6, 7], [3, 4, 5]]]


def test_a_caption_beyond_its_places_is_refused() -> None:
    with pytest.raises(ValueError, match="captions: expected at most 8 tokens but received 9"):
        OSCAR.sequences(torch.ones(1, 1, 9, dtype=torch.long), torch.zeros(1, 1, 3, dtype=torch.long), 0, captions=True)
