import pytest
import torch
from torch import Tensor

from distillvlm.losses.attention import attention_loss


def maps(*rows: list[float]) -> Tensor:
    """One photo, one head."""
    return torch.tensor([[rows]])


def test_error_is_summed_over_keys_and_averaged_over_valid_queries() -> None:
    student = maps([0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [0.2, 0.2, 0.6])
    teacher = maps([0.4, 0.4, 0.2], [0.0, 1.0, 0.0], [0.9, 0.1, 0.0])
    # Query 1: 0.01 + 0.01; query 2: 1 + 1; query 3 is padding.
    valid = torch.tensor([[True, True, False]])
    assert attention_loss((student, teacher, valid)).item() == pytest.approx((0.02 + 2.0) / 2)


def test_heads_are_averaged() -> None:
    equal, opposite = maps([1.0, 0.0]), maps([0.0, 1.0])
    student = torch.cat([equal, equal], dim=1)
    teacher = torch.cat([equal, opposite], dim=1)
    assert attention_loss((student, teacher, torch.tensor([[True]]))) == pytest.approx(1.0)


def test_padding_changes_neither_loss_nor_gradient() -> None:
    torch.manual_seed(0)
    student = torch.rand(2, 3, 4, 5).softmax(-1)
    teacher = torch.rand(2, 3, 4, 5).softmax(-1)
    valid = torch.tensor([[True, True, False, False], [True, False, True, False]])
    first = student.clone().requires_grad_()
    loss = attention_loss((first, teacher, valid))
    loss.backward()

    noise = torch.rand(2, 3, 4, 5).softmax(-1)
    padding = ~valid[:, None, :, None]
    second = torch.where(padding, noise, student).requires_grad_()
    other = attention_loss((second, torch.where(padding, noise.flip(-1), teacher), valid))
    other.backward()
    assert torch.equal(loss, other)
    assert torch.equal(first.grad, second.grad)
    assert not first.grad.masked_select(padding).any()


def test_no_valid_query_gives_zero_with_zero_gradient() -> None:
    student = torch.rand(1, 2, 3, 3).softmax(-1).requires_grad_()
    loss = attention_loss((student, torch.rand(1, 2, 3, 3), torch.zeros(1, 3, dtype=torch.bool)))
    loss.backward()
    assert loss == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_groups_with_other_numbers_of_keys_count_by_their_queries() -> None:
    first = (maps([1.0, 0.0]), maps([0.0, 1.0]), torch.tensor([[True]]))  # error 2
    second = (maps([1.0], [1.0], [1.0]), maps([1.0], [1.0], [1.0]), torch.tensor([[True, True, True]]))  # error 0
    assert attention_loss(first, second) == pytest.approx(2 / 4)


def test_a_prefix_of_length_zero_gives_zero() -> None:
    empty = torch.zeros(2, 4, 0, 0)
    assert attention_loss((empty, empty, torch.zeros(2, 0, dtype=torch.bool))) == 0


@pytest.mark.parametrize(
    ("teacher_shape", "valid_shape", "message"),
    [
        ((1, 3, 4, 5), (1, 4), r"student's is \(1, 2, 4, 5\) and the teacher's \(1, 3, 4, 5\)"),
        ((1, 2, 4, 5), (1, 5), r"valid of shape \(1, 4\) but received \(1, 5\)"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(
    teacher_shape: tuple[int, ...], valid_shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attention_loss((torch.ones(1, 2, 4, 5), torch.ones(teacher_shape), torch.ones(valid_shape, dtype=torch.bool)))
