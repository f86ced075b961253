"""The transformer against Hugging Face's BERT, and the dense layout against step-by-step decoding."""

from dataclasses import replace

import pytest
import torch

from distillvlm.modeling.generation import beam_search
from distillvlm.modeling.vision_language import caption_mask

from .tiny import FEATURES, VOCABULARY, tiny_model, tiny_regions
from .twin import hugging_face_twin, run_twin


def test_question_without_photo_equals_hugging_face_bert() -> None:
    model = tiny_model()
    tokens = torch.tensor([[2, 7, 8, 9, 3, 0, 0], [2, 11, 12, 13, 14, 15, 3]])
    states = model.encode_questions(model.no_prefix(2), tokens[:, None])
    twin = hugging_face_twin(model)(tokens, attention_mask=(tokens != 0).long(), output_attentions=True)
    seen = tokens != 0
    torch.testing.assert_close(states.hidden[:, 0][seen], twin.last_hidden_state[seen], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(model.pool(states)[:, 0], twin.pooler_output, atol=2e-5, rtol=1e-5)
    ours = states.attention[:, :, 0].transpose(1, 2)[seen]
    torch.testing.assert_close(ours, twin.attentions[-1].transpose(1, 2)[seen], atol=2e-5, rtol=1e-5)


def test_prefix_and_question_equal_hugging_face_bert_under_the_block_mask() -> None:
    model, regions = tiny_model(), tiny_regions()
    prefix = model.encode_prefix(regions)
    question = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0], [2, 10, 11, 3]])
    states = model.encode_questions(prefix, question[:, None])

    tag_tokens = model.tokens_of_tags(regions.tags)
    tags = model.embed_text(tag_tokens, torch.arange(tag_tokens.shape[1]), token_type=1)
    inputs = torch.cat([regions.features, regions.boxes, regions.boxes[..., 2:] - regions.boxes[..., :2]], -1)
    projected = model.region_norm(model.region_projection(inputs))
    text = model.embed_text(question, torch.arange(4), token_type=0)
    hidden = torch.cat([tags, projected, text], dim=1)
    length, text_length = prefix.mask.shape[1], question.shape[1]
    visible = torch.zeros(3, length + text_length, length + text_length, dtype=torch.bool)
    visible[:, :, :length] = prefix.mask[:, None, :]
    visible[:, length:, length:] = (question != 0)[:, None, :]
    hidden, attention = run_twin(hugging_face_twin(model), hidden, visible)
    seen = question != 0
    torch.testing.assert_close(states.hidden[:, 0][seen], hidden[:, length:][seen], atol=2e-5, rtol=1e-5)
    of_text, of_prefix = attention[:, :, length:].transpose(1, 2), attention[:, :, :length, :length].transpose(1, 2)
    ours = states.attention[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(ours[seen], of_text[seen], atol=2e-5, rtol=1e-5)
    ours = prefix.attention.transpose(1, 2)
    torch.testing.assert_close(ours[prefix.mask], of_prefix[prefix.mask], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(prefix.hidden[prefix.mask], hidden[:, :length][prefix.mask], atol=2e-5, rtol=1e-5)


def test_captions_and_their_queries_equal_hugging_face_bert_under_the_mask_of_step_by_step_decoding() -> None:
    """For BERT each query is a sequence of its own: the photo, the words before it and one [MASK]."""
    model, regions = tiny_model(), tiny_regions()
    words = torch.tensor([[2, 7, 8, 9], [2, 10, 11, 0], [2, 12, 13, 14]])
    prefix = model.encode_prefix(regions)
    states = model.encode_captions(prefix, words[:, None])
    twin = hugging_face_twin(model)
    tag_tokens = model.tokens_of_tags(regions.tags)
    tags = model.embed_text(tag_tokens, torch.arange(tag_tokens.shape[1]), token_type=1)
    photo = torch.cat([tags, model.embed_regions(regions)], dim=1)
    length = photo.shape[1]
    for place in range(words.shape[1]):
        tokens = torch.cat([words[:, : place + 1], torch.full((3, 1), 4)], dim=1)
        text = model.embed_text(tokens, torch.arange(place + 2), token_type=0)
        visible = torch.zeros(3, length + place + 2, length + place + 2, dtype=torch.bool)
        visible[:, :, :length] = prefix.mask[:, None, :]
        visible[:, length:, length:] = torch.ones(place + 2, place + 2, dtype=torch.bool).tril()
        hidden, attention = run_twin(twin, torch.cat([photo, text], dim=1), visible)
        said = words[:, place] != 0
        word, query = states.hidden[:, 0, place], states.hidden[:, 0, words.shape[1] + place]
        torch.testing.assert_close(word[said], hidden[:, -2][said], atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(query[said], hidden[:, -1][said], atol=2e-5, rtol=1e-5)
        logits = model.caption_logits(query), model.caption_logits(hidden[:, -1])
        torch.testing.assert_close(logits[0][said], logits[1][said], atol=5e-5, rtol=1e-5)
        on_photo = states.attention[:, :, 0, words.shape[1] + place, :length]
        torch.testing.assert_close(on_photo[said], attention[:, :, -1, :length][said], atol=2e-5, rtol=1e-5)


def test_every_caption_query_has_the_logits_of_step_by_step_decoding() -> None:
    model = tiny_model()
    prefix = model.encode_prefix(tiny_regions())
    captions = beam_search(model, prefix, num_beams=4, max_tokens=6, length_penalty=0.7)
    words = torch.cat([torch.full_like(captions.tokens[..., :1], 2), captions.tokens[..., :-1]], dim=-1)
    states = model.encode_captions(prefix, words)
    logits = model.caption_logits(states.hidden[:, :, words.shape[-1] :])
    dense = logits.log_softmax(-1).gather(-1, captions.tokens[..., None])[..., 0]
    chosen = captions.tokens != 0
    assert chosen.sum() > 20
    torch.testing.assert_close(dense[chosen], captions.log_probabilities[chosen], atol=2e-5, rtol=1e-5)


def test_standardised_regions_enter_without_their_mean_and_deviation() -> None:
    model, plain = tiny_model(), tiny_model()
    regions = tiny_regions()
    mean, deviation = torch.randn(regions.features.shape[-1]), torch.rand(regions.features.shape[-1]) + 0.5
    plain_regions = replace(regions, features=(regions.features - mean) / deviation)
    model.standardise_regions(mean, deviation)
    torch.testing.assert_close(model.encode_prefix(regions).hidden, plain.encode_prefix(plain_regions).hidden)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.encode_prefix(regions).hidden, plain.encode_prefix(regions).hidden)


def test_greedy_search_equals_an_uncached_loop() -> None:
    model = tiny_model(seed=3)
    prefix = model.encode_prefix(tiny_regions())
    captions = beam_search(model, prefix, num_beams=1, max_tokens=5, length_penalty=1.0)
    words = torch.full((3, 1, 1), 2)
    for _ in range(captions.tokens.shape[-1]):
        states = model.encode_captions(prefix, words)
        best = model.caption_logits(states.hidden[:, :, -1]).argmax(-1)
        words = torch.cat([words, best[..., None]], dim=-1)
    ended = (words[..., 1:] == 3).cumsum(-1) - (words[..., 1:] == 3).long() > 0
    assert torch.equal(captions.tokens, words[..., 1:].masked_fill(ended, 0))


def test_wide_beam_finds_the_best_of_all_sentences() -> None:
    """With as many beams as sentences of two words, the search is exhaustive."""
    model = tiny_model(seed=5)
    prefix = model.encode_prefix(tiny_regions(batch=1))
    allowed = [token for token in range(VOCABULARY) if model.caption_mask[token]]
    best = -float("inf")
    for first in allowed:
        for second in [0] if first == 3 else allowed:
            words = torch.tensor([[[2, first]]])
            log_probabilities = model.caption_logits(model.encode_captions(prefix, words).hidden[:, :, 2:])
            log_probabilities = log_probabilities.log_softmax(-1)[0, 0]
            total, length = log_probabilities[0, first], 1
            if first != 3:
                total, length = total + log_probabilities[1, second], 2
            best = max(best, float(total.detach()) / length**0.7)
    captions = beam_search(model, prefix, num_beams=len(allowed), max_tokens=2, length_penalty=0.7)
    assert float(captions.rank[0, 0]) == pytest.approx(best, abs=1e-5)
    assert torch.all(captions.rank[0, :-1] >= captions.rank[0, 1:])


def test_padding_of_prefix_and_text_changes_nothing() -> None:
    model = tiny_model()
    regions = tiny_regions()
    question = torch.tensor([[[2, 7, 8, 3]]]).expand(3, 1, 4)
    padded = torch.cat([question, torch.zeros(3, 1, 3, dtype=torch.long)], dim=-1)
    plain = model.pool(model.encode_questions(model.encode_prefix(regions), question))
    regions.features[0, -1] = 1000
    torch.testing.assert_close(
        model.pool(model.encode_questions(model.encode_prefix(regions), padded)), plain, atol=1e-5, rtol=1e-5
    )


def test_caption_mask_by_hand() -> None:
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]]
    assert caption_mask(2).long().tolist() == expected


@torch.no_grad()
def test_neither_words_nor_queries_see_a_later_word() -> None:
    model = tiny_model()
    prefix = model.encode_prefix(tiny_regions())
    words = torch.tensor([[[2, 7, 8, 9, 10]]]).expand(3, 1, 5)
    before = model.encode_captions(prefix, words).hidden
    for place in range(1, 5):
        other = words.clone()
        other[..., place] = 20
        changed = (model.encode_captions(prefix, other).hidden - before).abs().amax(dim=(0, 1, 3)) > 1e-6
        for states in (changed[:5], changed[5:]):  # words; queries, of which query i predicts word i + 1
            assert not states[:place].any()
            assert states[place:].all()


def test_heads_must_divide_the_hidden_size() -> None:
    with pytest.raises(ValueError, match="hidden_size 16 is not a multiple of num_heads 3"):
        tiny_model(num_heads=3)


def test_a_photo_alone_is_captioned_as_in_a_batch() -> None:
    model, regions = tiny_model(seed=2), tiny_regions()
    together = beam_search(model, model.encode_prefix(regions), 3, 6, 0.7)
    alone = beam_search(model, model.encode_prefix(regions[1:2]), 3, 6, 0.7)
    steps = alone.tokens.shape[-1]
    assert torch.equal(together.tokens[1:2, :, :steps], alone.tokens)
    assert not together.tokens[1, :, steps:].any()
    assert regions.features.shape[-1] == FEATURES
