"""Hugging Face's BERT with the weights of one of our models."""

import torch
from torch import Tensor
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertModel

from distillvlm.modeling.vision_language import VisionLanguageModel

from .tiny import VOCABULARY

HF_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


def hugging_face_twin(model: VisionLanguageModel) -> BertModel:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=model.config.hidden_size,
        num_hidden_layers=model.config.num_layers,
        num_attention_heads=model.config.num_heads,
        intermediate_size=model.config.intermediate_size,
        max_position_embeddings=model.config.max_positions,
        attn_implementation="eager",
    )
    twin = BertModel(config).eval()
    state = {
        "embeddings.word_embeddings.weight": model.word_embeddings.weight,
        "embeddings.position_embeddings.weight": model.position_embeddings.weight,
        "embeddings.token_type_embeddings.weight": model.token_type_embeddings.weight,
        "embeddings.LayerNorm.weight": model.embedding_norm.weight,
        "embeddings.LayerNorm.bias": model.embedding_norm.bias,
        "pooler.dense.weight": model.pooler.weight,
        "pooler.dense.bias": model.pooler.bias,
    }
    for index, layer in enumerate(model.layers):
        for ours, theirs in HF_NAMES.items():
            for kind in ("weight", "bias"):
                state[f"encoder.layer.{index}.{theirs}.{kind}"] = getattr(getattr(layer, ours), kind)
    twin.load_state_dict(state)
    return twin


def run_twin(twin: BertModel, hidden_BSD: Tensor, visible_BSS: Tensor) -> tuple[Tensor, Tensor]:
    """Its encoder on embedded tokens, row s seeing column t where visible: last states and attention [B, H, S, S]."""
    maps: list[Tensor] = []
    for layer in twin.encoder.layer:
        layer.attention.self.register_forward_hook(lambda _, __, output: maps.append(output[1]))
        output = layer(hidden_BSD, torch.zeros(visible_BSS.shape).masked_fill(~visible_BSS, -1e4)[:, None])
        hidden_BSD = output[0] if isinstance(output, tuple) else output
    return hidden_BSD, maps[-1]
