"""`caption.onnx`: a whole beam search as one graph, an ONNX Loop around one exported step.

Whatever of a step does not change from word to word (casts and transposes of weights, the prefix of each layer) moves
in front of the loop; the step captures it from there.
"""

# Shapes: B photos, K beams, N captions, T steps run, S words so far, P prefix length, R regions, L layers, H heads,
# d = D / H, V vocabulary, C = K continuations of each beam.
from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from onnx_ir.tape import Tape
from torch import Tensor, nn

from distillvlm.export.graphs import OPSET, PREFIX_OUTPUTS, PrefixShape, trace
from distillvlm.modeling.generation import IMPOSSIBLE
from distillvlm.modeling.vision_language import VisionLanguageModel

SCALARS = ("num_beams", "num_captions", "max_tokens")
CAPTION_OUTPUTS = ("tokens", "log_probabilities", "attention")
# What a step hands to the next; the last three are the captions so far.
STATE = ("last", "total", "rank", "finished", "keys", "values", *CAPTION_OUTPUTS)


def caption_graph(model: VisionLanguageModel, shape: PrefixShape, length_penalty: float) -> ir.Model:
    """Prefixes and the int64 scalars `num_beams`, `num_captions`, `max_tokens` -> the N best captions of each photo.

    Equals `modeling.generation.beam_search`; `tokens` [B, N, T] and `log_probabilities` [B, N, T] as there,
    `attention` [B, N, T, R] on the regions alone.
    """
    step = _export_step(model, shape, length_penalty)
    prefix = [value for value in step.graph.inputs if value.name in PREFIX_OUTPUTS]
    body, invariant_nodes, initializers = _split(step.graph, prefix)
    scalars = {name: ir.val(name, ir.DataType.INT64, ()) for name in SCALARS}
    tape = Tape()
    state = _initial_state(tape, prefix, scalars["num_beams"], model, shape)
    go = tape.initializer(ir.tensor(True, name="go"))
    loop = ir.node(
        "Loop",
        [scalars["max_tokens"], go, *state],
        attributes={"body": body},
        num_outputs=len(STATE),
    )
    found = Tape()
    outputs = [
        found.op("Slice", [value, *_slice_ends(found, name, scalars["num_captions"])])
        for name, value in zip(STATE, loop.outputs, strict=True)
        if name in CAPTION_OUTPUTS
    ]
    _describe(outputs, shape.num_regions)
    graph = ir.Graph(
        [*prefix, *scalars.values()],
        outputs,
        nodes=[*invariant_nodes, *tape.nodes, loop, *found.nodes],
        initializers=[*initializers, *tape.initializers, *found.initializers],
        opset_imports={"": OPSET},
        name="caption",
    )
    caption = ir.Model(graph, ir_version=step.ir_version, producer_name=step.producer_name)
    passes.DeduplicateInitializersPass()(caption)
    passes.NameFixPass()(caption)
    return caption


class _Step(nn.Module):
    """One word of every beam: feeds [last word, MASK] and keeps the K best continuations."""

    def __init__(self, model: VisionLanguageModel, num_regions: int, length_penalty: float) -> None:
        super().__init__()
        self.model = model
        self.num_regions = num_regions
        self.length_penalty = length_penalty

    def forward(
        self,
        iteration: Tensor,
        prefix_keys: Tensor,
        prefix_values: Tensor,
        prefix_mask: Tensor,
        last: Tensor,
        total: Tensor,
        rank: Tensor,
        finished: Tensor,
        keys: Tensor,
        values: Tensor,
        tokens: Tensor,
        log_probabilities: Tensor,
        attention: Tensor,
    ) -> tuple[Tensor, ...]:
        """iteration: int64 scalar from 0. keys, values: [B, K, L, H, S, d]. The rest as in `generation.Captions`."""
        num_beams = last.shape[1]
        logits_BKV, attention_BKR, new_keys, new_values = self._feed(
            iteration, last, (prefix_keys, prefix_values, prefix_mask), keys, values
        )
        best_BKC, words_BKC = logits_BKV.topk(num_beams, dim=-1)
        scores_BKC = best_BKC - logits_BKV.logsumexp(-1, keepdim=True)
        rank_BKC = (total[..., None] + scores_BKC) / (iteration + 1).float() ** self.length_penalty

        # A finished beam has one continuation, [PAD], that changes nothing.
        stays_BK1 = finished[..., None]
        only_first_C = torch.where(torch.arange(num_beams) == 0, 0.0, IMPOSSIBLE * 10)
        rank_BKC = torch.where(stays_BK1, rank[..., None] + only_first_C, rank_BKC)
        words_BKC = words_BKC.masked_fill(stays_BK1, self.model.lexicon.pad)
        scores_BKC = scores_BKC.masked_fill(stays_BK1, 0.0)
        attention_BKR = attention_BKR.masked_fill(stays_BK1, 0.0)

        rank, index_BK = rank_BKC.flatten(1).topk(num_beams, dim=1)
        last = words_BKC.flatten(1).gather(1, index_BK)
        scores_BK = scores_BKC.flatten(1).gather(1, index_BK)
        parents_BK = index_BK // num_beams
        photos_B1 = torch.arange(last.shape[0])[:, None]
        finished = finished[photos_B1, parents_BK] | (last == self.model.lexicon.sep)
        return (
            ~finished.all(),
            last,
            total[photos_B1, parents_BK] + scores_BK,
            rank,
            finished,
            torch.cat([keys, new_keys], dim=4)[photos_B1, parents_BK],
            torch.cat([values, new_values], dim=4)[photos_B1, parents_BK],
            torch.cat([tokens[photos_B1, parents_BK], last[..., None]], dim=2),
            torch.cat([log_probabilities[photos_B1, parents_BK], scores_BK[..., None]], dim=2),
            torch.cat([attention, attention_BKR[:, :, None]], dim=2)[photos_B1, parents_BK],
        )

    def _feed(
        self,
        iteration: Tensor,
        last_BK: Tensor,
        prefix: tuple[Tensor, Tensor, Tensor],
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits [B, K, V] and attention on the regions [B, K, R] of the query; keys and values of the last word."""
        model = self.model
        prefix_keys, prefix_values, prefix_mask = prefix
        tokens_BK2 = torch.stack([last_BK, torch.full_like(last_BK, model.lexicon.mask)], dim=-1)
        hidden = model.embed_text(tokens_BK2, iteration + torch.arange(2), token_type=0)
        words = keys.shape[4]
        # The word does not see the query behind it.
        mask = torch.arange(words + 2) <= words + torch.arange(2)[:, None]
        new_keys, new_values = [], []
        attention = hidden
        for index, layer in enumerate(model.encoder_layers):
            hidden, key, value, attention = layer.text(
                hidden,
                prefix_keys.select(1, index),
                prefix_values.select(1, index),
                prefix_mask,
                mask,
                keys.select(2, index).transpose(1, 2),
                values.select(2, index).transpose(1, 2),
            )
            new_keys.append(key.narrow(3, 0, 1).transpose(1, 2))
            new_values.append(value.narrow(3, 0, 1).transpose(1, 2))
        length = prefix_mask.shape[1]
        attention_BHKR = attention.select(3, 1)[..., length - self.num_regions : length]
        logits_BKV = model.caption_logits(hidden.select(2, 1))
        return logits_BKV, attention_BHKR.mean(1), torch.stack(new_keys, dim=2), torch.stack(new_values, dim=2)


def _export_step(model: VisionLanguageModel, shape: PrefixShape, length_penalty: float) -> ir.Model:
    """The step as a graph of its own, traced with sizes that do not coincide."""
    batch, beams, words = 2, 3, 4
    prefix = dict(zip(PREFIX_OUTPUTS, shape.example_prefix(model, batch), strict=True))
    layers, heads, head_size = (prefix["prefix_keys"].shape[i] for i in (1, 2, 4))
    inputs = {
        "iteration": torch.tensor(words),
        **prefix,
        "last": torch.full((batch, beams), model.lexicon.cls),
        "total": torch.randn(batch, beams),
        "rank": torch.randn(batch, beams),
        "finished": torch.zeros(batch, beams, dtype=torch.bool),
        "keys": torch.randn(batch, beams, layers, heads, words, head_size),
        "values": torch.randn(batch, beams, layers, heads, words, head_size),
        "tokens": torch.ones(batch, beams, words, dtype=torch.long),
        "log_probabilities": torch.randn(batch, beams, words),
        "attention": torch.rand(batch, beams, words, shape.num_regions),
    }
    B, K, S = torch.export.Dim("batch"), torch.export.Dim("beams"), torch.export.Dim("words")
    dynamic = {name: {0: B} if name in PREFIX_OUTPUTS else {0: B, 1: K} for name in inputs}
    dynamic |= {name: {0: B, 1: K, 4: S} for name in ("keys", "values")}
    dynamic |= {name: {0: B, 1: K, 2: S} for name in CAPTION_OUTPUTS}
    dynamic["iteration"] = {}
    return trace(
        _Step(model, shape.num_regions, length_penalty),
        inputs,
        dynamic,
        ("go_on", *(f"{name}_next" for name in STATE)),
    )


def _split(graph: ir.Graph, prefix: list[ir.Value]) -> tuple[ir.Graph, list[ir.Node], list[ir.Value]]:
    """The step's graph as a Loop body, the nodes that belong in front of the loop, and all initialisers."""
    initializers = list(graph.initializers.values())
    invariant = {*initializers, *prefix}
    outer = []
    for node in graph:
        if all(value is None or value in invariant for value in node.inputs):
            outer.append(node)
            invariant.update(node.outputs)
    graph.initializers.clear()
    graph.remove(outer)
    inner = list(graph)
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    graph.inputs.clear()
    graph.outputs.clear()
    graph.remove(inner)
    iteration = inputs[0]
    state = [value for value in inputs[1:] if value not in prefix]
    unused = ir.val("go_on_in", ir.DataType.BOOL, ())
    body = ir.Graph([iteration, unused, *state], outputs, nodes=inner, name="step")
    return body, outer, initializers


def _initial_state(
    tape: Tape, prefix: list[ir.Value], num_beams: ir.Value, model: VisionLanguageModel, shape: PrefixShape
) -> list[ir.Value]:
    """Beams that all begin with [CLS]; they are the same at first, so only the first may have children."""

    def constant(name: str, value: float | Sequence[int], dtype: ir.DataType = ir.DataType.INT64) -> ir.Value:
        return tape.initializer(ir.tensor(value, dtype=dtype, name=f"start.{name}"))

    config = model.config
    batch_1 = tape.op("Shape", [prefix[2]], {"start": 0, "end": 1})
    beams_1 = tape.op("Reshape", [num_beams, constant("one", [1])])
    beams_BK = tape.op("Concat", [batch_1, beams_1], {"axis": 0})

    def empty(name: str, *sizes: int, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        size = tape.op("Concat", [beams_BK, constant(name, sizes)], {"axis": 0})
        return tape.op("ConstantOfShape", [size], {"value": ir.tensor([0], dtype=dtype)})

    zero = constant("zero", 0)
    is_first = tape.op("Equal", [tape.op("Range", [zero, num_beams, constant("step", 1)]), zero])
    possible = [constant("possible", 0.0, ir.DataType.FLOAT), constant("impossible", IMPOSSIBLE, ir.DataType.FLOAT)]
    total = tape.op("Expand", [tape.op("Where", [is_first, *possible]), beams_BK])
    cache = empty("cache", config.num_layers, config.num_heads, 0, config.hidden_size // config.num_heads)
    state = {
        "last": tape.op("Expand", [constant("cls", model.lexicon.cls), beams_BK]),
        "total": total,
        "rank": total,
        "finished": tape.op("Expand", [constant("unfinished", False, ir.DataType.BOOL), beams_BK]),
        "keys": cache,
        "values": cache,
        "tokens": empty("tokens", 0, dtype=ir.DataType.INT64),
        "log_probabilities": empty("log_probabilities", 0),
        "attention": empty("attention", 0, shape.num_regions),
    }
    return [state[name] for name in STATE]


def _slice_ends(tape: Tape, name: str, num_captions: ir.Value) -> list[ir.Value]:
    """Start, end and axis of the slice that keeps the best captions."""
    start, axis = (tape.initializer(ir.tensor([i], name=f"{name}.{part}")) for i, part in ((0, "start"), (1, "axis")))
    return [start, tape.op("Reshape", [num_captions, axis]), axis]


def _describe(outputs: list[ir.Value], num_regions: int) -> None:
    for name, value in zip(CAPTION_OUTPUTS, outputs, strict=True):
        value.name = name
        value.dtype = ir.DataType.INT64 if name == "tokens" else ir.DataType.FLOAT
        sizes: list[str | int] = ["batch", "captions", "caption_tokens"]
        value.shape = ir.Shape([*sizes, num_regions] if name == "attention" else sizes)
