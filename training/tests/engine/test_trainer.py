"""The loop: resumes to the identical curve, stops on NaN, averages weights, leaves whole files."""

import multiprocessing
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from torch import Tensor, nn

from distillvlm.engine.checkpoint import load_trained, save_atomically
from distillvlm.engine.ema import WeightAverage
from distillvlm.engine.progress import read_progress
from distillvlm.engine.trainer import (
    Schedule,
    Task,
    Training,
    parameter_groups,
    snapshot_folder,
    train,
    train_together,
)
from tests.engine.curves import next_second, read_curves

SCHEDULE = Schedule(steps=12, learning_rate=1e-2, ema_decay=0.9, precision="no")


class Regression(Task):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trained = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 1))
        self.loss_weights = {"square": 2.0}

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        return {"square": (self.trained(batch) - batch.sum(1, keepdim=True)).square().mean()}


class SeededBatches:
    def __init__(self, killed_at: int | None = None, poisoned_at: int | None = None) -> None:
        self.killed_at, self.poisoned_at = killed_at, poisoned_at

    def batch(self, step: int) -> Tensor:
        if step == self.killed_at:
            raise KeyboardInterrupt
        batch = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        return batch * float("nan") if step == self.poisoned_at else batch


def test_a_killed_run_resumes_to_the_identical_curve_and_weights(tmp_path: Path) -> None:
    whole = Regression()
    expected = train(whole, SeededBatches(), SCHEDULE, tmp_path / "whole", seed=3)
    with pytest.raises(KeyboardInterrupt):
        train(Regression(), SeededBatches(killed_at=7), SCHEDULE, tmp_path / "cut", 3, checkpoint_seconds=0)
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    next_second()
    resumed = Regression()
    history = train(resumed, SeededBatches(), SCHEDULE, tmp_path / "cut", seed=3)
    assert history == expected
    for ours, theirs in zip(resumed.trained.parameters(), whole.trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert read_progress(tmp_path / "cut") == expected
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["losses.jsonl", "model.pt", "tensorboard"]
    events = read_curves(tmp_path / "cut")
    curve = events.Scalars("losses/square")
    assert [event.step for event in curve] == list(range(12))  # no gap, and nothing twice
    assert [event.value for event in curve] == pytest.approx([progress.losses["square"] for progress in expected])
    assert [event.value for event in events.Scalars("rate")] == pytest.approx([SCHEDULE.rate(t) for t in range(12)])
    assert min(event.value for event in events.Scalars("rows per second")) > 0


def train_slowly(folder: str) -> None:
    class Slow(SeededBatches):
        def batch(self, step: int) -> Tensor:
            time.sleep(0.2)
            return super().batch(step)

    train(Regression(), Slow(), SCHEDULE, Path(folder), seed=3, checkpoint_seconds=0)


def test_a_process_that_is_killed_outright_leaves_what_resumes_to_the_identical_curve(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = train(Regression(), SeededBatches(), SCHEDULE, whole, seed=3)
    process = multiprocessing.get_context("spawn").Process(target=train_slowly, args=(str(cut),))
    process.start()
    losses = cut / "losses.jsonl"
    while process.is_alive() and not (losses.exists() and len(losses.read_text().splitlines()) >= 4):
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with losses.open("a") as file:
        file.write('{"step": 4, "lo')  # as a kill within a line would leave it
    assert train(Regression(), SeededBatches(), SCHEDULE, cut, seed=3) == expected
    ours, theirs = (torch.load(folder / "model.pt") for folder in (cut, whole))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_write_that_fails_midway_leaves_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_atomically(path, {"steps": 3})

    def fail(state: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fail)
        with pytest.raises(OSError, match="no space left"):
            save_atomically(path, {"steps": 4})
    assert torch.load(path) == {"steps": 3}
    save_atomically(path, {"steps": 4})
    assert torch.load(path) == {"steps": 4}


def test_a_checkpoint_whose_losses_are_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Regression(), SeededBatches(killed_at=7), SCHEDULE, tmp_path, 3, checkpoint_seconds=0)
    (tmp_path / "losses.jsonl").unlink()
    with pytest.raises(ValueError, match=r"losses\.jsonl: expected \d steps, which its checkpoint has, but found 0"):
        train(Regression(), SeededBatches(), SCHEDULE, tmp_path, seed=3)


def test_a_finished_run_is_loaded_and_not_trained_again(tmp_path: Path) -> None:
    first = Regression()
    train(first, SeededBatches(), SCHEDULE, tmp_path, seed=3)
    again = Regression()
    train(again, SeededBatches(killed_at=0), SCHEDULE, tmp_path, seed=3)
    assert torch.equal(again.trained[0].weight, first.trained[0].weight)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_loss(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"step 5: a loss is not finite: \{'square': nan\}"):
        train(Regression(), SeededBatches(poisoned_at=5), SCHEDULE, tmp_path, seed=3)


class Kink(Regression):
    """Its loss is finite where its gradient is not."""

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        return {"square": super().forward(batch)["square"] + (0 * self.trained[0].weight).square().sum().sqrt()}


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(tmp_path: Path) -> None:
    task = Kink()
    before = task.trained[0].weight.detach().clone()
    with pytest.raises(FloatingPointError, match=r"step 0: the gradient's norm is not finite: \{'norm': nan\}"):
        train(task, SeededBatches(), SCHEDULE, tmp_path, seed=3)
    assert torch.equal(task.trained[0].weight, before)


def test_trainings_in_lock_step_are_what_each_is_alone_even_when_a_kill_left_one_behind(tmp_path: Path) -> None:
    slow = replace(SCHEDULE, learning_rate=1e-3)
    alone = [
        train(Regression(), SeededBatches(), schedule, tmp_path / f"alone {name}", seed=3)
        for name, schedule in (("fast", SCHEDULE), ("slow", slow))
    ]
    with pytest.raises(KeyboardInterrupt):
        train(Regression(), SeededBatches(killed_at=4), slow, tmp_path / "slow", 3, checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train(Regression(), SeededBatches(killed_at=9), SCHEDULE, tmp_path / "fast", 3, checkpoint_seconds=0)
    next_second()
    trainings = [
        Training(Regression(), schedule, tmp_path / name, seed=3)
        for name, schedule in (("fast", SCHEDULE), ("slow", slow))
    ]
    assert train_together(trainings, SeededBatches()) == alone
    finished = [Training(Regression(), SCHEDULE, tmp_path / "fast", seed=3)]
    assert train_together(finished, SeededBatches(killed_at=0)) == alone[:1]
    with pytest.raises(ValueError, match=r"one number of steps but received \[3, 12\]"):
        train_together([*finished, Training(Regression(), replace(SCHEDULE, steps=3), tmp_path / "short", 3)], None)


def test_snapshots_are_what_a_training_gives_back_and_survive_a_kill(tmp_path: Path) -> None:
    schedule = replace(SCHEDULE, snapshots=5)
    assert schedule.snapshot_steps() == [2, 4, 7, 9, 12]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    model = Regression()
    train(model, SeededBatches(), schedule, whole, seed=3)
    with pytest.raises(KeyboardInterrupt):
        train(Regression(), SeededBatches(killed_at=8), schedule, cut, 3, checkpoint_seconds=0)
    train(Regression(), SeededBatches(), schedule, cut, seed=3)
    kept = {steps: [Regression().trained, Regression().trained] for steps in schedule.snapshot_steps()}
    for steps, (ours, theirs) in kept.items():
        load_trained(ours, snapshot_folder(whole, steps))
        load_trained(theirs, snapshot_folder(cut, steps))
        assert torch.equal(ours[0].weight, theirs[0].weight)
    assert torch.equal(kept[12][0][0].weight, model.trained[0].weight)
    assert len({ours[0].weight.sum().item() for ours, _ in kept.values()}) == 5


def test_the_rate_warms_up_and_decays_in_straight_lines() -> None:
    schedule = Schedule(steps=10, learning_rate=1.0, warmup_share=0.2)
    assert [round(schedule.rate(step), 3) for step in range(10)] == [
        0.5,
        1,
        1,
        0.875,
        0.75,
        0.625,
        0.5,
        0.375,
        0.25,
        0.125,
    ]


def test_only_matrices_decay() -> None:
    decayed, free = parameter_groups(Regression(), 0.05)
    assert decayed["weight_decay"] == 0.05
    assert free["weight_decay"] == 0.0
    assert [tuple(p.shape) for p in decayed["params"]] == [(8, 4), (1, 8)]
    assert [tuple(p.shape) for p in free["params"]] == [(8,), (8,), (8,), (1,)]


def test_the_average_by_hand() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    average = WeightAverage(module, decay=0.9)
    nn.init.constant_(module.weight, 3.0)
    average.update(step=0)  # decay is 1/10 at first: 0.1 * 1 + 0.9 * 3
    module.load_state_dict(average.weights())
    assert float(module.weight.detach()) == pytest.approx(2.8)


def test_what_was_trained_on_a_gpu_loads_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Regression().trained
    with monkeypatch.context() as patch:  # writes the tensors down as a GPU's
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(trained.state_dict(), tmp_path / "model.pt")
    other = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 1))
    load_trained(other, tmp_path)
    for name, value in trained.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
