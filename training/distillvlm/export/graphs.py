"""PyTorch modules -> ONNX graphs of standard operators: detector, prefix, answers."""

# Shapes: B photos, R regions, F feature size, G tags, P prefix length, Q questions, T question tokens, L layers,
# H heads, d = D / H.
from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from distillvlm.export.detector_ops import DETECTOR_TRANSLATIONS
from distillvlm.export.storage import TRAINED
from distillvlm.modeling.vision_language import Prefix, VisionLanguageModel
from distillvlm.structures.regions import Regions

OPSET = 20  # the first with Gelu

REGION_OUTPUTS = ("boxes", "labels", "attributes", "scores", "valid", "features", "tags")
PREFIX_OUTPUTS = ("prefix_keys", "prefix_values", "prefix_mask")


@dataclass(frozen=True)
class PrefixShape:
    """What the transformer's graphs must know of a detector: R regions and G tags of a photo."""

    num_regions: int
    num_tags: int

    def prefix_length(self, model: VisionLanguageModel) -> int:
        return self.num_tags * model.tag_tokens.shape[1] + self.num_regions

    def example_prefix(self, model: VisionLanguageModel, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and mask of the right shapes to trace with."""
        config, length = model.config, self.prefix_length(model)
        head_size = config.hidden_size // config.num_heads
        keys = torch.randn(batch, config.num_layers, config.num_heads, length, head_size)
        return keys, torch.randn_like(keys), torch.ones(batch, length, dtype=torch.bool)


def detector_graph(detector: nn.Module, image_size: tuple[int, int]) -> ir.Model:
    """`pixels` uint8 [B, height, width, 3] -> the fields of `Regions`. image_size: (height, width)."""
    pixels = torch.randint(0, 256, (2, *image_size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch")
    return trace(_DetectorOutputs(detector), {"pixels": pixels}, {"pixels": {0: batch}}, REGION_OUTPUTS)


def prefix_graph(model: VisionLanguageModel, shape: PrefixShape) -> ir.Model:
    """`boxes`, `valid`, `features`, `tags` -> keys, values and mask of the prefix."""
    features = model.config.region_feature_size
    inputs = {
        "boxes": torch.rand(2, shape.num_regions, 4),
        "valid": torch.ones(2, shape.num_regions, dtype=torch.bool),
        "features": torch.randn(2, shape.num_regions, features),
        "tags": torch.zeros(2, shape.num_tags, dtype=torch.long),
    }
    batch = torch.export.Dim("batch")
    return trace(_PrefixEncoder(model), inputs, {name: {0: batch} for name in inputs}, PREFIX_OUTPUTS)


def answer_graph(model: VisionLanguageModel, shape: PrefixShape) -> ir.Model:
    """Prefixes, `question_ids` [Q, T] and `photo_of_question` [Q] -> `logits` [Q, A], `attention` [Q, R]."""
    keys, values, mask = shape.example_prefix(model, batch=3)
    inputs = {
        "prefix_keys": keys,
        "prefix_values": values,
        "prefix_mask": mask,
        "question_ids": torch.full((4, 5), model.lexicon.cls),
        "photo_of_question": torch.tensor([0, 2, 1, 1]),
    }
    batch, questions = torch.export.Dim("batch"), torch.export.Dim("questions")
    tokens = torch.export.Dim("question_tokens", max=model.config.max_positions)
    dynamic = {name: {0: batch} for name in PREFIX_OUTPUTS}
    dynamic |= {"question_ids": {0: questions, 1: tokens}, "photo_of_question": {0: questions}}
    return trace(_Answerer(model, shape.num_regions), inputs, dynamic, ("logits", "attention"))


class _DetectorOutputs(nn.Module):
    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        regions = self.detector(pixels)
        return tuple(getattr(regions, name) for name in REGION_OUTPUTS)


class _PrefixEncoder(nn.Module):
    def __init__(self, model: VisionLanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, boxes: Tensor, valid: Tensor, features: Tensor, tags: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unused = valid.long()
        prefix = self.model.encode_prefix(Regions(boxes, features, unused, unused, features[..., 0], valid, tags))
        return prefix.keys, prefix.values, prefix.mask


class _Answerer(nn.Module):
    def __init__(self, model: VisionLanguageModel, num_regions: int) -> None:
        super().__init__()
        self.model = model
        self.num_regions = num_regions

    def forward(
        self,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        prefix_mask: Tensor,
        question_ids: Tensor,
        photo_of_question: Tensor,
    ) -> tuple[Tensor, Tensor]:
        model, length = self.model, prefix_mask.shape[1]
        nothing = prefix_keys.new_zeros(0)
        prefix = Prefix(
            prefix_keys[photo_of_question],
            prefix_values[photo_of_question],
            prefix_mask[photo_of_question],
            hidden=nothing,
            attention=nothing,
        )
        states = model.encode_questions(prefix, question_ids[:, None])
        attention_QHP = states.attention[:, :, 0, 0, length - self.num_regions : length]
        return model.answer_logits(model.pool(states))[:, 0], attention_QHP.mean(1)


def trace(
    module: nn.Module,
    inputs: dict[str, Tensor],
    dynamic_shapes: dict[str, dict[int, torch.export.Dim]],
    outputs: Sequence[str],
) -> ir.Model:
    """Exports a module as a graph whose initialisers have their PyTorch names; parameters are marked for `store`.

    The exporter's own optimiser is left out since it would fold weights into new ones (batch norm into convolutions,
    transposes): what is stored would then no longer be the module's rounded weights. onnxruntime folds them when a
    session is made.
    """
    with warnings.catch_warnings():
        # Several inputs have a batch axis, on purpose.
        warnings.filterwarnings("ignore", "# The axis name: .* shares the same shape constraints")
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            dynamic_shapes=dynamic_shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            custom_translation_table=DETECTOR_TRANSLATIONS,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    model = program.model
    parameters = frozenset(name for name, _ in module.named_parameters())
    _simplify(model, parameters)
    for name in parameters & model.graph.initializers.keys():
        model.graph.initializers[name].metadata_props[TRAINED] = "yes"
    return model


def _simplify(model: ir.Model, parameters: frozenset[str]) -> None:
    """Folds what is constant but for `parameters`, and drops nodes that do nothing."""
    passes.InlinePass()(model)
    onnxscript.optimizer.fold_constants_ir(
        model,
        onnx_shape_inference=True,
        should_fold=lambda node: False if any(x is not None and x.name in parameters for x in node.inputs) else None,
    )
    for tidy in (
        passes.RemoveUnusedNodesPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.IdentityEliminationPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.RemoveUnusedNodesPass(),
        passes.ClearMetadataAndDocStringPass(),
    ):
        tidy(model)
