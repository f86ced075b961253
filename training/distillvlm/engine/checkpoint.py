"""Checkpoints that a kill can't tear."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from distillvlm.engine.ema import WeightAverage


def save_atomically(path: Path, state: object) -> None:
    """Writes beside the target, flushes to disk, then renames: the target is the old state or the new, never half."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_trained(module: nn.Module, folder: Path) -> None:
    """Puts the weights that a finished training left in its folder into the network, in eval mode; whatever device
    it ran on."""
    module.load_state_dict(torch.load(folder / "model.pt", map_location="cpu", weights_only=True))
    module.eval()


def load_checkpoint(folder: Path, task: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage) -> int:
    """Restores everything a step depends on; returns how many steps are done (0: a fresh run)."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    task.load_state_dict(state["task"])
    optimizer.load_state_dict(state["optimizer"])
    average.load_state_dict(state["average"])
    return int(state["steps"])
