import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from distillvlm.losses.hidden import EMPTY, MIN_TEMPERATURE, HiddenStateLoss, TokenQueue

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def identity_loss(queue_size: int = 4, temperature: float = 0.5) -> HiddenStateLoss:
    """phi is the identity in two dimensions."""
    loss = HiddenStateLoss(2, 2, queue_size, temperature)
    nn.init.eye_(loss.projection.weight)
    nn.init.zeros_(loss.projection.bias)
    return loss


def mask(*rows: list[bool]) -> Tensor:
    return torch.tensor([list(row) for row in rows])


def nce(positive: float, negatives: list[float], temperature: float = 0.5) -> float:
    """The definition, with cosines."""
    numerator = math.exp(positive / temperature)
    return -math.log(numerator / (numerator + sum(math.exp(value / temperature) for value in negatives)))


def test_three_tokens_by_hand() -> None:
    loss = identity_loss()
    loss.queue.enqueue(torch.tensor([EAST, [0.0, 5.0]]), torch.tensor([7, 8]))
    # Lengths do not matter. Third token is padding.
    student = torch.tensor([[[2.0, 0.0], [3.0, 3.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[0.5, 0.0], [-4.0, 0.0], [9.0, 9.0]]])
    value = loss.eval()(student, teacher, mask([True, True, False]), mask([False] * 3), torch.tensor([1]))
    half = math.sqrt(0.5)
    expected = (nce(1.0, [1.0, 0.0]) + nce(-half, [half, half])) / 2
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_a_full_queue_of_random_tokens_starts_at_the_log_of_its_size_plus_one() -> None:
    torch.manual_seed(0)
    loss = HiddenStateLoss(16, 512, queue_size=1024).eval()
    loss.queue.enqueue(torch.randn(1024, 512), torch.arange(1024))
    value = loss(
        torch.randn(4, 32, 16),
        torch.randn(4, 32, 512),
        torch.ones(4, 32, dtype=torch.bool),
        torch.ones(4, 32, dtype=torch.bool),
        torch.arange(4) + 5000,
    )
    # Cosines in 512 dimensions have a spread of 512^-0.5, over tau 0.07 a variance of 0.4: mean ln(1 + K e^0.2).
    assert value.item() == pytest.approx(math.log(1024) + 0.2, abs=0.2)


def test_two_captions_of_one_photo_are_no_negatives_of_each_other() -> None:
    loss = identity_loss().train()
    states = torch.tensor([[EAST, NORTH]])
    valid, photo = mask([True, True]), torch.tensor([3])
    assert loss(states, states, valid, valid, photo) == 0  # the queue was empty
    assert loss.queue.photos.tolist().count(3) == 2
    assert loss(states, states, valid, valid, photo) == 0  # all it holds is of this photo
    other = loss.eval()(states, states, valid, valid, torch.tensor([4]))
    # Four negatives now, two along each axis.
    assert other.item() == pytest.approx(nce(1.0, [1.0, 1.0, 0.0, 0.0]))


def test_padding_changes_neither_loss_nor_gradient() -> None:
    torch.manual_seed(0)
    loss = HiddenStateLoss(3, 5, queue_size=8).eval()
    loss.queue.enqueue(torch.randn(8, 5), torch.arange(8) + 10)
    student, teacher = torch.randn(2, 4, 3), torch.randn(2, 4, 5)
    valid = mask([True, True, False, False], [True, False, True, False])
    photos = torch.tensor([1, 2])
    first = student.clone().requires_grad_()
    value = loss(first, teacher, valid, valid, photos)
    value.backward()
    gradient = loss.projection.weight.grad.clone()
    loss.zero_grad()

    padding = ~valid[..., None]
    second = torch.where(padding, torch.randn(2, 4, 3), student).requires_grad_()
    other = loss(second, torch.where(padding, torch.nan, teacher), valid, valid, photos)
    other.backward()
    assert torch.equal(value, other)
    assert torch.equal(first.grad, second.grad)
    assert torch.equal(gradient, loss.projection.weight.grad)
    assert not first.grad.masked_select(padding).any()


def test_no_valid_token_gives_zero_with_zero_gradient() -> None:
    loss = identity_loss()
    loss.queue.enqueue(torch.tensor([EAST]), torch.tensor([7]))
    student = torch.randn(1, 3, 2, requires_grad=True)
    none = mask([False] * 3)
    value = loss(student, torch.randn(1, 3, 2), none, none, torch.tensor([1]))
    value.backward()
    assert value == 0
    assert torch.equal(student.grad, torch.zeros_like(student))
    assert not loss.projection.weight.grad.any()


def test_an_empty_queue_gives_zero_with_zero_gradient() -> None:
    loss = identity_loss()
    student = torch.randn(1, 3, 2, requires_grad=True)
    some = mask([True] * 3)
    value = loss(student, torch.randn(1, 3, 2), some, some, torch.tensor([1]))
    value.backward()
    assert value == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_gradient_is_that_of_the_queue_before_its_tokens_were_overwritten() -> None:
    torch.manual_seed(0)
    loss = HiddenStateLoss(3, 5, queue_size=8)
    loss.queue.enqueue(torch.randn(8, 5), torch.arange(8) + 10)
    student, teacher = torch.randn(2, 4, 3), torch.randn(2, 4, 5)
    everything, photos = torch.ones(2, 4, dtype=torch.bool), torch.tensor([1, 2])
    gradients = []
    for training in (False, True):
        anchor = student.clone().requires_grad_()
        loss.train(training)(anchor, teacher, everything, everything, photos).backward()
        gradients.append(anchor.grad)
    assert torch.equal(*gradients)
    assert set(loss.queue.photos.tolist()) == {1, 2}


def test_only_allowed_tokens_enter_the_queue_and_at_most_eight_of_a_photo() -> None:
    torch.manual_seed(0)
    loss = HiddenStateLoss(2, 2, queue_size=32)
    # Photo 1 may give 10 of its 12 tokens, photo 2 only one; forbidden tokens point west.
    allowed = mask([True] * 10 + [False] * 2, [False] * 11 + [True])
    teacher = torch.where(allowed[..., None], torch.tensor(EAST), torch.tensor(WEST))
    loss(torch.randn(2, 12, 2), teacher, torch.ones_like(allowed), allowed, torch.tensor([1, 2]))
    filled = loss.queue.photos != EMPTY
    assert sorted(loss.queue.photos[filled].tolist()) == [1] * 8 + [2]
    assert torch.equal(loss.queue.tokens[filled], torch.tensor([EAST] * 9))


def test_padding_changes_no_draw_for_the_queue() -> None:
    """Behind a photo's tokens, or between its texts."""
    torch.manual_seed(0)
    teacher, allowed = torch.randn(2, 12, 2), torch.rand(2, 12) < 0.9
    places = torch.tensor([0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13])  # of 17, the others are padding
    wider_teacher, wider_allowed = torch.full((2, 17, 2), 9.0), torch.zeros(2, 17, dtype=torch.bool)
    wider_teacher[:, places], wider_allowed[:, places] = teacher, allowed
    queues = []
    for tokens, may_enter in ((teacher, allowed), (wider_teacher, wider_allowed)):
        loss = HiddenStateLoss(2, 2, queue_size=32, tokens_per_photo=4)
        loss(torch.randn(*tokens.shape), tokens, torch.ones_like(may_enter), may_enter, torch.tensor([1, 2]))
        queues.append(loss.queue)
    assert queues[0].photos.tolist().count(1) == queues[0].photos.tolist().count(2) == 4
    assert torch.equal(queues[0].photos, queues[1].photos)
    assert torch.equal(queues[0].tokens, queues[1].tokens)
    assert len({tuple(token) for token in queues[0].tokens[:8].tolist()}) == 8


def test_the_queue_is_left_alone_in_eval_mode() -> None:
    loss = identity_loss().eval()
    some = mask([True])
    loss(torch.randn(1, 1, 2), torch.randn(1, 1, 2), some, some, torch.tensor([1]))
    assert (loss.queue.photos == EMPTY).all()


def test_queue_is_first_in_first_out() -> None:
    queue = TokenQueue(3, 1)
    queue.enqueue(torch.ones(2, 1), torch.tensor([1, 2]))
    assert queue.photos.tolist() == [1, 2, EMPTY]
    queue.enqueue(torch.ones(3, 1), torch.tensor([3, EMPTY, 4]))
    assert queue.photos.tolist() == [4, 2, 3]
    queue.enqueue(torch.ones(1, 1), torch.tensor([5]))
    assert queue.photos.tolist() == [4, 5, 3]


def test_more_tokens_than_the_queue_holds_leave_the_last() -> None:
    queue = TokenQueue(2, 1)
    queue.enqueue(torch.ones(5, 1), torch.arange(5))
    assert sorted(queue.photos.tolist()) == [3, 4]


def test_queue_survives_its_state_dict() -> None:
    torch.manual_seed(0)
    queue, restored = TokenQueue(3, 2), TokenQueue(3, 2)
    queue.enqueue(torch.randn(2, 2), torch.tensor([1, 2]))
    restored.load_state_dict(queue.state_dict())
    for each in (queue, restored):
        each.enqueue(torch.tensor([EAST, NORTH]), torch.tensor([3, 4]))
    assert torch.equal(queue.tokens, restored.tokens)
    assert queue.photos.tolist() == restored.photos.tolist() == [4, 2, 3]


def test_measurements_tell_duplicates_and_the_floor() -> None:
    loss = identity_loss().eval()
    loss.queue.enqueue(torch.tensor([EAST, EAST, NORTH, EAST]), torch.tensor([7, 8, 9, 1]))
    teacher = torch.tensor([[EAST, WEST]])
    everything = mask([True, True])
    loss(torch.randn(1, 2, 2), teacher, everything, everything, torch.tensor([1]))
    # East meets itself twice (the third is of its own photo), west never.
    assert loss.measurements["duplicates"] == pytest.approx(1.0)
    expected = (nce(1.0, [1.0, 1.0, 0.0]) + nce(1.0, [-1.0, -1.0, 0.0])) / 2
    assert loss.measurements["floor"] == pytest.approx(expected, rel=1e-5)


def test_opposite_tokens_at_the_lowest_temperature_stay_finite() -> None:
    loss = identity_loss(queue_size=4096, temperature=MIN_TEMPERATURE)
    loss.queue.enqueue(torch.tensor([EAST] * 4096), torch.arange(4096) + 10)
    student = torch.tensor([[EAST]], requires_grad=True)
    value = loss(student, torch.tensor([[WEST]]), mask([True]), mask([False]), torch.tensor([1]))
    value.backward()
    assert value.item() == pytest.approx(2 / MIN_TEMPERATURE + math.log(4096), rel=1e-5)
    assert student.grad.isfinite().all()
    with pytest.raises(ValueError, match=r"at least 0\.03 but received 0\.01"):
        HiddenStateLoss(2, 2, temperature=0.01)


def test_a_queue_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 token but received 0"):
        TokenQueue(0, 4)


def _fill_queue_in_process(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    queue = TokenQueue(4, 2)
    queue.enqueue(torch.tensor([EAST, NORTH]), torch.tensor([10 + rank, EMPTY if rank else 20]))
    torch.save(queue.state_dict(), f"{folder}/queue{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_have_the_same_queue_of_all_tokens(tmp_path: Path) -> None:
    multiprocessing.spawn(_fill_queue_in_process, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"queue{rank}.pt") for rank in range(2))
    assert first["photos"].tolist() == second["photos"].tolist() == [10, 20, 11, EMPTY]
    assert torch.equal(first["tokens"], second["tokens"])
    assert first["tokens"][:3].tolist() == [EAST, NORTH, EAST]
