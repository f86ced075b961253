"""Shares of the gradient: by hand, in their windows, across a resume."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distillvlm.engine.gradient_shares import gradient_shares, mean_shares, outputs_of, share_windows
from distillvlm.engine.trainer import Schedule, Task, train
from tests.engine.curves import next_second, read_curves


class TwoLosses(Task):
    """Losses w sum(h) and 3 w h_0 of hidden states h [2]: at h, their gradients have the norms w sqrt(2) and 3 w."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.scale = nn.Linear(2, 2), nn.Linear(1, 1, bias=False)
        self.trained = nn.ModuleList([self.hidden, self.scale])
        self.loss_weights = {"first": 0.5}
        nn.init.ones_(self.scale.weight)

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        hidden = self.hidden(batch)
        return {"sum": self.scale(hidden.sum().view(1)).sum(), "first": 3 * self.scale(hidden[0].view(1)).sum()}

    def before_last_layer(self) -> list[nn.Module]:
        return [self.hidden]


class Ones:
    def __init__(self, killed_at: int | None = None) -> None:
        self.killed_at = killed_at

    def batch(self, step: int) -> Tensor:
        if step == self.killed_at:
            raise KeyboardInterrupt
        return torch.ones(2)


def test_shares_by_hand() -> None:
    task = TwoLosses()
    with outputs_of(task.before_last_layer()) as inputs:
        losses = task(torch.ones(2))
    shares = gradient_shares(losses, inputs)
    assert shares == pytest.approx({"sum": 2**0.5 / (2**0.5 + 3), "first": 3 / (2**0.5 + 3)})
    losses["sum"].backward()  # the graph is still there
    assert task.hidden.weight.grad is not None
    task(torch.ones(2))
    assert len(inputs) == 1  # nothing is collected outside the block


def test_losses_without_a_gradient_have_no_share() -> None:
    hidden = torch.ones(2, requires_grad=True)
    assert gradient_shares({"a": hidden.sum(), "b": torch.tensor(2.0)}, [hidden]) == {"a": 1.0, "b": 0.0}
    assert gradient_shares({"b": torch.tensor(2.0)}, [hidden]) == {"b": 0.0}


def test_a_loss_that_pulls_at_next_to_nothing_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def told(weight: float) -> str:
        caplog.clear()
        task = TwoLosses()
        task.loss_weights = {"first": weight}
        train(task, Ones(), Schedule(20, 1e-3, share_steps=2, precision="no"), tmp_path / str(weight), seed=0)
        return caplog.text

    assert told(0.5) == ""
    assert "0.001, step 1: next to nothing is learnt from first (0.2%)" in told(0.001)


def test_windows_begin_at_the_start_a_tenth_and_half_and_never_overlap() -> None:
    assert share_windows(1000, 50) == {"start": range(50), "tenth": range(100, 150), "half": range(500, 550)}
    assert share_windows(60, 50) == {"start": range(6), "tenth": range(6, 12), "half": range(30, 36)}
    assert share_windows(9, 50) == share_windows(1000, 0) == {}


def test_a_training_logs_the_mean_weighted_shares_of_each_window_even_if_it_was_cut_within(tmp_path: Path) -> None:
    schedule = Schedule(steps=40, learning_rate=1e-3, precision="no", share_steps=3)
    with pytest.raises(KeyboardInterrupt):
        train(TwoLosses(), Ones(killed_at=5), schedule, tmp_path, 0, checkpoint_seconds=0)
    next_second()
    history = train(TwoLosses(), Ones(), schedule, tmp_path, 0)
    taken = [progress.step for progress in history if progress.gradient_shares]
    assert taken == [0, 1, 2, 4, 5, 6, 20, 21, 22]
    expected = {"sum": 2**0.5 / (2**0.5 + 1.5), "first": 1.5 / (2**0.5 + 1.5)}
    assert mean_shares(history, range(4, 7)) == pytest.approx(expected)
    events = read_curves(tmp_path).Scalars("gradient shares/first")
    assert [event.step for event in events] == [2, 6, 22]
    assert [event.value for event in events] == pytest.approx([expected["first"]] * 3)
