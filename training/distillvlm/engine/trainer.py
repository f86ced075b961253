"""The one training loop: any task, one batch a step, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from distillvlm.engine.checkpoint import load_checkpoint, load_trained, save_atomically
from distillvlm.engine.ema import WeightAverage
from distillvlm.engine.progress import Progress, read_progress, recent_means, write_progress


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


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. Linear warm-up, then linear decay to zero (OSCAR's schedule).

    `ema_decay` above 0 keeps an exponential average of the weights, which is what the run then gives back.
    """

    steps: int
    learning_rate: float
    warmup_share: float = 0.1
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    precision: str = "bf16"

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
    Writes `checkpoint.pt` while it runs, `losses.jsonl` and `model.pt` at the end (all atomically).

    Raises:
        FloatingPointError: a loss is not finite; names step and losses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "model.pt").exists():
        load_trained(task.trained, folder)
        return read_progress(folder)
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=schedule.precision)
    optimizer = torch.optim.AdamW(parameter_groups(task, schedule.weight_decay), lr=schedule.learning_rate)
    prepared, optimizer = accelerator.prepare(task, optimizer)
    average = WeightAverage(task.trained, schedule.ema_decay)
    history = load_checkpoint(folder, task, optimizer, average)
    first = len(history)
    task.train()
    saved_at = time.monotonic()
    bar = tqdm(total=schedule.steps, initial=first, desc=label, unit="step", mininterval=1.0, dynamic_ncols=True)
    for step, batch in prefetch(batches, first, schedule.steps):
        torch.manual_seed(seed * 1_000_003 + step * accelerator.num_processes + accelerator.process_index)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        with accelerator.autocast():
            losses: dict[str, Tensor] = prepared(batch)
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        stop_on_divergence(step, values)
        total = torch.stack([task.loss_weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(total)
        accelerator.clip_grad_norm_(task.parameters(), schedule.gradient_clip)
        optimizer.step()
        average.update(step)
        history.append(Progress(step, values | task.measurements()))
        bar.update()
        bar.set_postfix({name: f"{value:.3f}" for name, value in recent_means(history).items()}, refresh=False)
        if time.monotonic() - saved_at > checkpoint_seconds and accelerator.is_main_process:
            save_atomically(folder / "checkpoint.pt", checkpoint_state(task, optimizer, average, history))
            saved_at = time.monotonic()
    bar.close()
    average.copy_to(task.trained)
    if accelerator.is_main_process:
        write_progress(folder, history)
        save_atomically(folder / "model.pt", task.trained.state_dict())
        (folder / "checkpoint.pt").unlink(missing_ok=True)
    task.eval()
    return history


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
