"""The one training loop: any task, one batch a step, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from distillvlm.engine.allocator import release_freed_memory
from distillvlm.engine.checkpoint import load_checkpoint, load_trained, save_atomically
from distillvlm.engine.ema import WeightAverage
from distillvlm.engine.gradient_shares import gradient_shares, mean_shares, outputs_of, share_windows
from distillvlm.engine.log import TrainingLog
from distillvlm.engine.processes import batch_rows, means_over_processes, new_accelerator, share_of
from distillvlm.engine.progress import Progress, read_progress, write_progress


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
    """

    steps: int
    learning_rate: float
    warmup_share: float = 0.1
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    precision: str = "bf16"
    share_steps: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        warmup = max(1, round(self.steps * self.warmup_share))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        return self.learning_rate * (self.steps - step) / max(1, self.steps - warmup)


def train(
    task: Task,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int,
    label: str,
    checkpoint_seconds: float = 60.0,
) -> list[Progress]:
    """Trains `task.trained` for `schedule.steps` steps; a folder with a checkpoint continues from it.

    Dropout of a step is drawn from a seed of its own, so a killed and resumed run has the identical curve.
    Writes `checkpoint.pt` while it runs, `losses.jsonl` and `model.pt` at the end (all atomically), and what
    `TrainingLog` says.

    Under `torchrun` or `accelerate launch` every process calls it with the same arguments, and learns from its share of
    each batch. The losses of `losses/` are means over the rows of all processes, so curve and weights are those of one
    process but for rounding and dropout. The first process writes; all must see the folder.

    Raises:
        FloatingPointError: a loss is not finite; names step and losses.
        ValueError: a batch can't be shared out among the processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "model.pt").exists():
        load_trained(task.trained, folder)
        return read_progress(folder)
    learner = Learner(task, schedule)
    average = WeightAverage(task.trained, schedule.ema_decay)
    history = load_checkpoint(folder, task, learner.optimizer, average)
    task.train()
    writes = learner.accelerator.is_main_process
    windows = share_windows(schedule.steps, schedule.share_steps).values()
    saved_at = time.monotonic()
    with closing(TrainingLog(folder, label, len(history), schedule.steps, writes)) as log:
        for step, batch in prefetch(batches, len(history), schedule.steps):
            window = next((window for window in windows if step in window), range(0))
            history.append(learner.step(step, batch, seed, takes_shares=bool(window)))
            average.update(step)
            log.step(history, schedule.rate(step), batch_rows(batch))
            if window and step == window[-1]:
                log.shares(mean_shares(history, window), step)
            if time.monotonic() - saved_at > checkpoint_seconds:
                if writes:
                    log.flush()
                    state = checkpoint_state(task, learner.optimizer, average, history)
                    save_atomically(folder / "checkpoint.pt", state)
                release_freed_memory()
                saved_at = time.monotonic()
    average.copy_to(task.trained)
    if writes:
        write_progress(folder, history)
        save_atomically(folder / "model.pt", task.trained.state_dict())
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    learner.accelerator.wait_for_everyone()  # what comes next reads the weights
    task.eval()
    return history


class Learner:
    """A task on this process's device, with its optimizer; takes one step after the other."""

    def __init__(self, task: Task, schedule: Schedule) -> None:
        self.task, self.schedule = task, schedule
        self.accelerator = new_accelerator(schedule.precision)
        groups = parameter_groups(task, schedule.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, fused=True)
        # `prepared` is the task itself, or what joins it to those of the other processes.
        self.prepared, self.optimizer = self.accelerator.prepare(task, optimizer)

    def step(self, step: int, batch: object, seed: int, takes_shares: bool) -> Progress:
        """Learns from this process's share of the batch; the figures are those of the whole batch.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        torch.manual_seed(seed * 1_000_003 + step * processes + process)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        watched = self.task.before_last_layer() if takes_shares else ()
        with outputs_of(watched) as inputs, self.accelerator.autocast():
            losses: dict[str, Tensor] = self.prepared(share_of(batch, process, processes))
        figures = means_over_processes(self.accelerator, {**losses, **self.task.measurements()})
        stop_on_divergence(step, {name: figures[name] for name in losses})
        weighted = {name: self.task.loss_weights.get(name, 1.0) * loss for name, loss in losses.items()}
        shares = gradient_shares(weighted, inputs) if inputs else {}
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(torch.stack(list(weighted.values())).sum())
        self.accelerator.clip_grad_norm_(self.task.parameters(), self.schedule.gradient_clip)
        self.optimizer.step()
        return Progress(step, figures, shares)


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


def stop_on_divergence(step: int, losses: dict[str, float]) -> None:
    if not all(math.isfinite(value) for value in losses.values()):
        raise FloatingPointError(f"step {step}: a loss is not finite: {losses}")


def checkpoint_state(
    task: Task, optimizer: torch.optim.Optimizer, average: WeightAverage, history: list[Progress]
) -> dict[str, object]:
    return {
        "task": task.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict(),
        "history": [asdict(progress) for progress in history],
    }
