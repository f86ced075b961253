import math

import pytest
import torch

from distillvlm.losses.concepts import concept_loss


def test_cross_entropy_is_summed_over_words_and_averaged_over_photos() -> None:
    chances = torch.tensor([[0.5, 0.25], [0.5, 0.5]])
    shares = torch.tensor([[0.4, 1.0], [0.0, 0.2]])
    loss = concept_loss(chances.log(), (1 - chances).log(), shares)
    # one word at 1/4 that all say, the other three at 1/2
    assert loss.item() == pytest.approx((math.log(4) + 3 * math.log(2)) / 2)


def test_it_is_least_where_the_chance_is_the_share() -> None:
    losses = [
        concept_loss(torch.tensor([[chance]]).log(), torch.tensor([[1 - chance]]).log(), torch.tensor([[0.4]])).item()
        for chance in (0.3, 0.4, 0.5)
    ]
    assert losses[1] == min(losses)


def test_no_photo_gives_zero() -> None:
    empty = torch.zeros(0, 3, requires_grad=True)
    assert concept_loss(empty, empty, torch.zeros(0, 3)).item() == 0
