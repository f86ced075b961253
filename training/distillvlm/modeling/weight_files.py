"""Files of weights, as other projects publish them."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a state dict that PyTorch saved (`.bin`, `.pth`, `.pt`), on the CPU.

    Raises:
        ValueError: the file can't be read, or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        raise ValueError(f"Cannot read the weights {path}: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: expected named tensors and nothing else")
    return dict(state)
