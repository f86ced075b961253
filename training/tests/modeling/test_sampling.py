"""Sampled captions follow the model's distribution, step by step and as the dense layout sees them."""

import pytest
import torch

from distillvlm.modeling.generation import sample_captions
from distillvlm.tasks.scst import caption_log_probabilities
from tests.modeling.tiny import VOCABULARY, tiny_model, tiny_regions


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_samples_have_the_log_probabilities_of_the_dense_layout(temperature: float) -> None:
    torch.manual_seed(0)
    model = tiny_model()
    prefix = model.encode_prefix(tiny_regions())
    samples = sample_captions(model, prefix, 5, 7, temperature)
    dense = caption_log_probabilities(model, prefix, samples.tokens, temperature)
    assert (samples.tokens == 3).any()
    assert (samples.tokens[..., -1] > 3).any()  # one that was cut off
    torch.testing.assert_close(dense, samples.log_probabilities, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(samples.rank, samples.log_probabilities.sum(-1))


def test_behind_a_samples_end_there_is_padding_without_weight() -> None:
    torch.manual_seed(0)
    model = tiny_model()
    samples = sample_captions(model, model.encode_prefix(tiny_regions()), num_samples=8, max_tokens=9)
    ended = (samples.tokens == 3).cumsum(-1) - (samples.tokens == 3).long() > 0
    assert ended.any()
    assert not samples.tokens[ended].any()
    assert not samples.log_probabilities[ended].any()
    assert not samples.attention[ended].any()
    assert (samples.tokens[~ended] != 0).all()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_words_are_drawn_as_often_as_the_model_says(temperature: float) -> None:
    torch.manual_seed(0)
    model = tiny_model()
    prefix = model.encode_prefix(tiny_regions(batch=1))
    drawn = sample_captions(model, prefix, 4000, 1, temperature).tokens[0, :, 0]
    frequency = drawn.bincount(minlength=VOCABULARY) / 4000
    query = model.encode_captions(prefix, torch.tensor([[[2]]])).hidden[0, 0, 1]
    probability = (model.caption_logits(query) / temperature).softmax(-1)
    # Four standard deviations of the mean of 4000 draws with p = 1/2, the widest.
    torch.testing.assert_close(frequency, probability, atol=4 * (0.25 / 4000) ** 0.5, rtol=0)


def test_a_temperature_of_nothing_is_refused() -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="positive temperature but received 0"):
        sample_captions(model, model.encode_prefix(tiny_regions()), 2, 3, temperature=0)
