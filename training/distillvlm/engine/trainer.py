"""The one training loop: any task, one batch a step, resumable at any step."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from distillvlm.engine.allocator import release_freed_memory
from distillvlm.engine.checkpoint import load_checkpoint, load_trained, save_atomically
from distillvlm.engine.ema import WeightAverage
from distillvlm.engine.gradient_shares import gradient_shares, mean_shares, outputs_of, share_windows
from distillvlm.engine.log import TrainingLog, advance, progress_bar
from distillvlm.engine.processes import batch_rows, means_over_processes, new_accelerator, share_of_this_process
from distillvlm.engine.progress import Progress, append_progress, keep_progress, read_progress

logger = logging.getLogger(__name__)

INERT_SHARE = 0.02  # of the gradient; ours


class Batches(Protocol):
    """Batch of a step as a pure function of the step (seeds lie inside), so that a resumed run sees the same data."""

    def batch(self, step: int) -> object: ...


class Task(nn.Module):
    """A training objective: `forward(batch)` gives named scalar losses; `trained` is the network that learns."""

    trained: nn.Module
    loss_weights: dict[str, float]

    def measurements(self) -> dict[str, float]:
        """Figures of the last batch that are logged beside its losses and not learnt."""
        return {}

    def before_last_layer(self) -> Sequence[nn.Module]:
        """Modules whose outputs enter the last layer, where shares of the gradient are taken; none: nowhere."""
        return ()


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. Linear warm-up, then linear decay to zero (OSCAR's schedule).

    `ema_decay` above 0 keeps an exponential average of the weights, which is what the run then gives back.
    `share_steps`: steps over which the losses' shares of the gradient are averaged, three times in a training (see
    `share_windows`); each of them takes every loss back through the last layer once more. 0: never.
    `snapshots`: how often the weights are kept for a choice on validation data, evenly spaced, the end among them; see
    `snapshot_folder`.
    """

    steps: int
    learning_rate: float
    warmup_share: float = 0.1
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    precision: str = "bf16"
    share_steps: int = 0
    snapshots: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        warmup = max(1, round(self.steps * self.warmup_share))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        return self.learning_rate * (self.steps - step) / max(1, self.steps - warmup)

    def snapshot_steps(self) -> list[int]:
        """How many steps are done when the weights are kept."""
        return [self.steps * (number + 1) // self.snapshots for number in range(self.snapshots)]


@dataclass(frozen=True)
class Training:
    """A task with its schedule; its results lie in `folder`."""

    task: Task
    schedule: Schedule
    folder: Path
    seed: int


def train(
    task: Task, batches: Batches, schedule: Schedule, folder: Path, seed: int, checkpoint_seconds: float = 60.0
) -> list[Progress]:
    """Trains `task.trained` for `schedule.steps` steps; a folder with a checkpoint continues from it.

    Dropout of a step is drawn from a seed of its own, so a killed and resumed run has the identical curve.
    Writes `checkpoint.pt` and `losses.jsonl` while it runs and `model.pt` at the end, each so that a kill can't tear
    it, and what `TrainingLog` says.

    Under `torchrun` or `accelerate launch` every process calls it with the same arguments, and learns from its share of
    each batch. The losses of `losses/` are means over the rows of all processes, so curve and weights are those of one
    process but for rounding and dropout. The first process writes; all must see the folder.

    Raises:
        FloatingPointError: a loss or the gradient's norm is not finite; names step and figures.
        ValueError: a batch can't be shared out among the processes.
    """
    (history,) = train_together([Training(task, schedule, folder, seed)], batches, checkpoint_seconds)
    return history


def train_together(
    trainings: Sequence[Training], batches: Batches, checkpoint_seconds: float = 60.0
) -> list[list[Progress]]:
    """Trainings in lock-step: each batch is built once, and every training takes its step on it.

    What becomes of each is what `train` makes of it alone. After a kill, those that were behind catch up first; one
    that is finished is passed over. Tasks of one frozen teacher find its outputs for a batch already there.

    Raises:
        ValueError: their numbers of steps differ. See `train` for others.
    """
    lengths = sorted({each.schedule.steps for each in trainings})
    if len(lengths) != 1:
        raise ValueError(f"Expected trainings of one number of steps but received {lengths}")
    (steps,) = lengths
    learners = [Learner(each) for each in trainings if not _is_finished(each.folder)]
    with ExitStack() as logs:
        for learner in learners:
            logs.enter_context(closing(learner.log))
        _learn_together(learners, batches, steps, checkpoint_seconds)
    for learner in learners:
        learner.finish()
    return [_reload(each) for each in trainings]


def _learn_together(learners: Sequence[Learner], batches: Batches, steps: int, checkpoint_seconds: float) -> None:
    first = min((learner.step for learner in learners), default=steps)
    shown = next((learner for learner in learners if learner.step == first), None)
    saved_at = time.monotonic()
    label = " + ".join(learner.folder.name for learner in learners)
    with progress_bar(label, first, steps, watched=bool(shown and shown.writes)) as bar:
        for step, batch in prefetch(batches, first, steps):
            share = share_of_this_process(batch)
            for learner in learners:
                if learner.step == step:
                    learner.learn(share, batch_rows(batch))
            if shown:
                advance(bar, shown.history)
            if time.monotonic() - saved_at > checkpoint_seconds:
                for learner in learners:
                    learner.save()
                release_freed_memory()
                saved_at = time.monotonic()


def _is_finished(folder: Path) -> bool:
    return (folder / "model.pt").exists()


def _reload(training: Training) -> list[Progress]:
    """What a finished training left in its folder."""
    load_trained(training.task.trained, training.folder)
    training.task.eval()
    return read_progress(training.folder)


def snapshot_folder(folder: Path, steps: int) -> Path:
    """Where a training in `folder` leaves `model.pt` as it is after so many steps."""
    return folder / f"after-{steps}"


class Learner:
    """A training on this process's device, with its optimizer; takes one step after the other."""

    def __init__(self, training: Training) -> None:
        self.task, self.schedule = training.task, training.schedule
        self.folder, self.seed = training.folder, training.seed
        self.folder.mkdir(parents=True, exist_ok=True)
        self.accelerator = new_accelerator(self.schedule.precision)
        groups = parameter_groups(self.task, self.schedule.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=self.schedule.learning_rate, fused=True)
        # `prepared` is the task itself, or what joins it to those of the other processes.
        self.prepared, self.optimizer = self.accelerator.prepare(self.task, optimizer)
        self.average = WeightAverage(self.task.trained, self.schedule.ema_decay)
        self.writes = self.accelerator.is_main_process
        self.written = load_checkpoint(self.folder, self.task, self.optimizer, self.average)
        self.history = keep_progress(self.folder, self.written, self.writes)
        self.windows = share_windows(self.schedule.steps, self.schedule.share_steps).values()
        self.log = TrainingLog(self.folder, len(self.history), self.writes)
        self.task.train()

    @property
    def step(self) -> int:
        """The step to be taken next."""
        return len(self.history)

    def learn(self, share: object, rows: int) -> None:
        """Takes a step on this process's share of a batch of so many rows, and logs it.

        Raises:
            FloatingPointError: a loss or the gradient's norm is not finite; the weights are left as they were.
        """
        step, started = self.step, time.monotonic()
        window = next((window for window in self.windows if step in window), range(0))
        progress = self._learn(step, share, takes_shares=bool(window))
        self.average.update(step)
        self.history.append(replace(progress, seconds=round(time.monotonic() - started, 4)))
        self.log.step(self.history, self.schedule.rate(step), rows)
        if window and step == window[-1]:
            self._tell_shares(mean_shares(self.history, window), step)
        if self.writes and self.step in self.schedule.snapshot_steps():
            kept = snapshot_folder(self.folder, self.step)
            kept.mkdir(exist_ok=True)
            save_atomically(kept / "model.pt", self.average.weights())

    def _tell_shares(self, shares: dict[str, float], step: int) -> None:
        self.log.shares(shares, step)
        weak = {name: share for name, share in shares.items() if share < INERT_SHARE}
        if weak and self.writes:
            logger.warning("%s, step %d: %s", self.folder.name, step, told_inert(weak))

    def _learn(self, step: int, share: object, takes_shares: bool) -> Progress:
        """The figures are those of the whole batch."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed(self.seed * 1_000_003 + step * processes + process)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        watched = self.task.before_last_layer() if takes_shares else ()
        with outputs_of(watched) as inputs, self.accelerator.autocast():
            losses: dict[str, Tensor] = self.prepared(share)
        figures = means_over_processes(self.accelerator, {**losses, **self.task.measurements()})
        stop_on_divergence(step, "a loss", {name: figures[name] for name in losses})
        weighted = {name: self.task.loss_weights.get(name, 1.0) * loss for name, loss in losses.items()}
        shares = gradient_shares(weighted, inputs) if inputs else {}
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(torch.stack(list(weighted.values())).sum())
        norm = self.accelerator.clip_grad_norm_(self.task.parameters(), self.schedule.gradient_clip)
        stop_on_divergence(step, "the gradient's norm", {"norm": float(norm)})
        self.optimizer.step()
        return Progress(step, figures, shares)

    def save(self) -> None:
        """Writes a checkpoint that a run continues from."""
        if self.writes:
            self.log.flush()
            self._write_progress()
            state = checkpoint_state(self.task, self.optimizer, self.average, self.step)
            save_atomically(self.folder / "checkpoint.pt", state)

    def finish(self) -> None:
        """Leaves weights and losses in the folder, for every process to read."""
        self.task.trained.load_state_dict(self.average.weights())
        if self.writes:
            self._write_progress()
            save_atomically(self.folder / "model.pt", self.task.trained.state_dict())
            (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()

    def _write_progress(self) -> None:
        append_progress(self.folder, self.history[self.written :])
        self.written = self.step


def told_inert(weak: dict[str, float]) -> str:
    named = ", ".join(f"{name} ({share:.1%})" for name, share in weak.items())
    return f"next to nothing is learnt from {named}: that is its share of the gradient; raise its weight"


def parameter_groups(task: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases, norms and other vectors do not."""
    trainable = [parameter for parameter in task.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]


def prefetch(batches: Batches, first: int, steps: int, ahead: int = 3) -> Iterator[tuple[int, object]]:
    """Batches `first` to `steps` - 1 in order, built by a thread while the step before runs."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as executor:
        queue = [(step, executor.submit(batches.batch, step)) for step in range(first, min(first + ahead, steps))]
        while queue:
            step, future = queue.pop(0)
            following = step + ahead
            if following < steps:
                queue.append((following, executor.submit(batches.batch, following)))
            yield step, future.result()


def stop_on_divergence(step: int, what: str, figures: dict[str, float]) -> None:
    if not all(math.isfinite(value) for value in figures.values()):
        raise FloatingPointError(f"step {step}: {what} is not finite: {figures}")


def checkpoint_state(
    task: Task, optimizer: torch.optim.Optimizer, average: WeightAverage, steps: int
) -> dict[str, object]:
    return {
        "task": task.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict(),
        "steps": steps,
    }
