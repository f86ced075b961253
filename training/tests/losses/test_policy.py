import math

import pytest
import torch

from distillvlm.losses.policy import mean_of_others, policy_gradient_loss

LOGITS = [0.3, -0.5]
"""Of a language with two words, whose captions have one word."""

PROBABILITY = 1 / (1 + math.exp(-0.5 - 0.3))  # of the first word


def log_probabilities(logits: torch.Tensor, words: list[int]) -> torch.Tensor:
    """Of one photo's sampled captions: [1, K, 1]."""
    return logits.log_softmax(-1)[torch.tensor(words)][None, :, None]


def test_gradient_of_one_sample_of_two_words_by_hand() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    policy_gradient_loss(log_probabilities(logits, [0]), torch.tensor([[3.0 - 1.0]])).backward()
    # -(r - b) (one-hot - p): equation 7 of Rennie et al. 2017
    expected = [-2 * (1 - PROBABILITY), -2 * (0 - (1 - PROBABILITY))]
    assert logits.grad.tolist() == pytest.approx(expected)


def test_gradient_with_the_mean_of_the_others_by_hand() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    rewards = torch.tensor([[3.0, 1.0]])
    policy_gradient_loss(log_probabilities(logits, [0, 1]), rewards - mean_of_others(rewards)).backward()
    # Advantages 2 and -2; mean over both of -2 ((1, 0) - p) and 2 ((0, 1) - p): p drops out.
    assert logits.grad.tolist() == pytest.approx([-1.0, 1.0])


def test_all_samples_by_their_probability_give_the_gradient_of_the_expected_reward() -> None:
    rewards = torch.tensor([3.0, 1.0])
    logits = torch.tensor(LOGITS, requires_grad=True)
    (logits.softmax(-1) @ rewards).backward()
    expected, logits.grad = logits.grad, None
    for word, probability in enumerate((PROBABILITY, 1 - PROBABILITY)):
        loss = policy_gradient_loss(log_probabilities(logits, [word]), rewards[word].view(1, 1) - 0.7)
        (probability * loss).backward()
    torch.testing.assert_close(logits.grad, -expected)


def test_words_of_a_caption_add_up_and_padding_adds_nothing() -> None:
    words = torch.tensor([[[-0.5, -0.25, 0.0], [-1.0, 0.0, 0.0]]])
    assert float(policy_gradient_loss(words, torch.tensor([[2.0, 1.0]]))) == pytest.approx((1.5 + 1.0) / 2)


def test_others_by_hand() -> None:
    assert mean_of_others(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[4.0, 3.5, 1.5]]
    with pytest.raises(ValueError, match="at least 2 samples of each photo but received 1"):
        mean_of_others(torch.ones(3, 1))
