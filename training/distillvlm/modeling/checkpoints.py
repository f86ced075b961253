"""Checkpoints of BERT, MiniLM and OSCAR into the vision-language model, every tensor of both sides accounted for.

Names: BERT's as Hugging Face writes them (the `bert.` in front is there or not, LayerNorm's weight and bias may have
their old names gamma and beta), and OSCAR's: https://github.com/microsoft/Oscar, oscar/modeling/modeling_bert.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.modeling.weight_files import read_weights

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

_MODULES = {
    "embeddings.word_embeddings": "word_embeddings",
    "embeddings.position_embeddings": "position_embeddings",
    "embeddings.token_type_embeddings": "token_type_embeddings",
    "embeddings.LayerNorm": "embedding_norm",
    "img_embedding": "region_projection",
    "LayerNorm": "region_norm",
    "pooler.dense": "pooler",
    "cls.predictions.transform.dense": "word_transform",
    "cls.predictions.transform.LayerNorm": "word_norm",
    "cls.predictions.decoder": "word_decoder",
    "cls.seq_relationship": "match_head",
    "classifier": "answer_head",
}
_MODULES_OF_A_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "intermediate",
    "output.dense": "output",
    "output.LayerNorm": "output_norm",
}
_DECODER = "word_decoder.weight"
_WORD_BIAS = ("cls.predictions.bias", "cls.predictions.decoder.bias")  # newer files name it twice, with one value
# What the arithmetic of our layers takes for granted: setting of config.json -> value, which is also its default.
_ARITHMETIC = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"}
# BERT and OSCAR count "belongs together" as class 0 (BertForNextSentencePrediction; oscar_tsv.py), we as class 1.
_MATCH_CLASSES = (1, 0)

# Parts of our model, as prefixes of its names.
_REGIONS = ("region_projection.", "region_norm.")
_STATISTICS = ("region_mean", "region_deviation")  # of the data, not of the weights
_WORD_HEAD = ("word_transform.", "word_norm.", "word_bias")
_POOLER = ("pooler.",)
_MATCH_HEAD = ("match_head.",)
_ANSWER_HEAD = ("answer_head.",)


@dataclass(frozen=True)
class CheckpointFormat:
    """In what a kind of checkpoint may differ from our model; any other difference is an error.

    may_lack: parts of our model that keep their initial weights where the checkpoint has nothing of the part.
    left_out: names of the checkpoint, or their beginnings, that have no place in our model.
    """

    name: str
    may_lack: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...] = ("embeddings.position_ids",)  # 0, 1, 2 ..: a buffer of older files


BERT = CheckpointFormat("BERT", (_REGIONS, _WORD_HEAD, _POOLER, _MATCH_HEAD, _ANSWER_HEAD))
"""BERT and what has its shape, MiniLM among them, with or without the heads of pre-training."""

OSCAR = CheckpointFormat("OSCAR", (_WORD_HEAD, _MATCH_HEAD, _ANSWER_HEAD))
"""OSCAR, pre-trained or fine-tuned."""

VINVL = replace(OSCAR, name="VinVL", left_out=(*OSCAR.left_out, "cls.seq_relationship"))
"""OSCAR+ of VinVL: its contrastive head tells three cases apart (matched, polluted tags, polluted text), ours two."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder of weights: tensors by their own names, the vocabulary's pieces in order, and `config.json`."""

    folder: Path
    state: dict[str, Tensor]
    vocabulary: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """What the rows of a matrix stand for, in the model and in the checkpoint: each is taken by its name."""

    ours: Sequence[str]
    theirs: Sequence[str]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads `config.json`, `vocab.txt` and `model.safetensors` or `pytorch_model.bin`.

    Raises:
        ValueError: one of them is missing or can't be read; names it.
    """
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise ValueError(f"{folder}: expected the weights as {' or '.join(WEIGHT_FILES)}, found neither")
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read the checkpoint {folder}: {error}") from error
    return Checkpoint(folder, read_weights(weights), tuple(vocabulary), settings)


def load_checkpoint(
    model: VisionLanguageModel,
    checkpoint: Checkpoint,
    kind: CheckpointFormat,
    vocabulary: Sequence[str],
    answers: Rows | None = None,
) -> list[str]:
    """Puts a checkpoint's weights into the model.

    vocabulary: the pieces that the rows of the model's word embedding stand for, all known to the checkpoint.
    answers: for a checkpoint with a classifier, what its classes and the model's answers are.
    Of the checkpoint's positions the model takes as many as it has, the first ones.
    Returns the names of the model's tensors that keep their initial weights.

    Raises:
        ValueError: a tensor is missing or left over, has another shape or lacks a row, or heads and activation are not
            the model's; names all that is wrong.
    """
    expected = {name: value for name, value in model.state_dict().items() if name not in _STATISTICS}
    ours, problems = _translate(checkpoint.state, kind, expected.keys())
    problems += _settle_decoder(model, ours)
    kept = [name for name in expected if name not in ours and _may_lack(name, ours, kind)]
    problems += [f"has no {name}" for name in expected if name not in ours and name not in kept]
    problems += _differing_settings(model, checkpoint)
    pieces = Rows(vocabulary, checkpoint.vocabulary)
    problems += _take_rows(ours, ("word_embeddings.weight", _DECODER, "word_bias"), pieces)
    problems += _take_rows(ours, ("answer_head.weight", "answer_head.bias"), answers)
    _take_positions_and_classes(model, ours)
    problems += [
        f"has {name} of shape {list(value.shape)} instead of {list(expected[name].shape)}"
        for name, value in ours.items()
        if value.shape != expected[name].shape
    ]
    if problems:
        raise ValueError(f"The {kind.name} checkpoint {checkpoint.folder} {'; '.join(problems)}")
    model.load_state_dict({**model.state_dict(), **ours})
    return kept


def _translate(
    state: dict[str, Tensor], kind: CheckpointFormat, expected: Collection[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors by our names, and what is wrong with the others."""
    ours: dict[str, Tensor] = {}
    problems = []
    places = {*expected, _DECODER}
    for full_name, value in state.items():
        name = _current_name(full_name)
        if name.startswith(kind.left_out):
            continue
        target = _our_name(name)
        if target is None or target not in places:
            problems.append(f"has {full_name}, for which there is no place")
        elif not torch.equal(ours.setdefault(target, value), value):
            problems.append(f"has {full_name}, and another value for the same under another name")
    return ours, problems


def _current_name(name: str) -> str:
    name = name.removeprefix("bert.")
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


def _our_name(name: str) -> str | None:
    if name in _WORD_BIAS:
        return "word_bias"
    module, _, kind = name.rpartition(".")
    layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", module)
    if layer is None:
        return f"{_MODULES[module]}.{kind}" if module in _MODULES else None
    part = _MODULES_OF_A_LAYER.get(layer[2])
    return None if part is None else f"layers.{layer[1]}.{part}.{kind}"


def _settle_decoder(model: VisionLanguageModel, ours: dict[str, Tensor]) -> list[str]:
    """A word head shares the embedding's matrix or has its own; files write a shared one once or twice."""
    words = ours.get("word_embeddings.weight")
    if words is None:
        return []
    if model.word_decoder is not None:
        ours.setdefault(_DECODER, words)
        return []
    if torch.equal(ours.pop(_DECODER, words), words):
        return []
    return ["has a word head that is not its word embedding, and needs a model with tied_words=False"]


def _may_lack(name: str, ours: dict[str, Tensor], kind: CheckpointFormat) -> bool:
    part = next((part for part in kind.may_lack if name.startswith(part)), None)
    return part is not None and not any(other.startswith(part) for other in ours)


def _differing_settings(model: VisionLanguageModel, checkpoint: Checkpoint) -> list[str]:
    expected = {"num_attention_heads": model.config.num_heads, **_ARITHMETIC}
    received = {**_ARITHMETIC, **checkpoint.settings}
    return [
        f"has {name} {received.get(name)} instead of {value}"
        for name, value in expected.items()
        if received.get(name) != value
    ]


def _take_rows(ours: dict[str, Tensor], names: Sequence[str], rows: Rows | None) -> list[str]:
    """Takes the model's rows of the tensors that are there, or says why it can't."""
    names = [name for name in names if name in ours]
    if not names:
        return []
    if rows is None:
        return [f"has {names[0]}, and nothing says what its rows stand for"]
    wrong = [name for name in names if len(ours[name]) != len(rows.theirs)]
    if wrong:
        return [f"has {name} with {len(ours[name])} rows for {len(rows.theirs)} names" for name in wrong]
    row_of = {name: row for row, name in enumerate(rows.theirs)}
    unknown = [name for name in rows.ours if name not in row_of]
    if unknown:
        return [f"has no row of {names[0]} for {', '.join(map(repr, unknown[:5]))} ({len(unknown)} in all)"]
    index = torch.tensor([row_of[name] for name in rows.ours])
    for name in names:
        ours[name] = ours[name][index]
    return []


def _take_positions_and_classes(model: VisionLanguageModel, ours: dict[str, Tensor]) -> None:
    positions = ours.get("position_embeddings.weight")
    if positions is not None:
        ours["position_embeddings.weight"] = positions[: model.config.max_positions]
    for name in ("match_head.weight", "match_head.bias"):
        if name in ours and len(ours[name]) == len(_MATCH_CLASSES):
            ours[name] = ours[name][list(_MATCH_CLASSES)]
