"""OSCAR's pre-training corpus, drawn small: a YAML file, rows of texts, answers, features in one folder or in parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distillvlm.data.oscar_corpus import (
    Corpus,
    corpus_features,
    load_corpus,
    read_caption_list,
    read_caption_tsv,
    read_corpus,
)
from distillvlm.data.oscar_store import FeatureFiles
from distillvlm.data.records import Question
from distillvlm.data.text_only import PhotoText

from .oscar_files import write_rows

YAML = """
corpus: coco_googlecc
corpus_file: small.tsv
image_label_path: {coco: labels/coco, googlecc: labels/cc, sbu: labels/sbu}
image_feature_path: {coco: coco/model_0060000, googlecc: cc, sbu: sbu}
"""
ROWS = [
    ["coco_cap_000000391895", "coco_cap_000000391895", "A man rides a bike ."],
    ["coco_qa_000000391895", "coco_qa_000000391895_12", "What is he on?"],
    ["cc_3_77", "cc_77", "a view of the sea"],
    ["coco_cap_000000391895", "coco_cap_000000391895", "A bike."],
    ["sbu_0_5", "sbu_5", "not of this corpus"],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.yaml").write_text(YAML)
    write_rows(tmp_path / "small.tsv", ROWS)
    write_rows(tmp_path / "labels/coco/QA_fileB.tsv", [["12", json.dumps({"labels": ["bike", "bicycle"]})]])
    return tmp_path


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return load_corpus(folder / "corpus.yaml", folder / "features")


def test_a_corpus_becomes_texts_by_photo(corpus: Corpus) -> None:
    question = Question(1, "What is he on?", ("bike", "bicycle"))
    assert read_corpus(corpus) == [
        PhotoText("coco/391895", ("A man rides a bike .", "A bike."), (question,)),
        PhotoText("googlecc/77", ("a view of the sea",)),
    ]


def test_features_lie_in_one_folder_or_in_parts(corpus: Corpus, folder: Path) -> None:
    one = write_rows(folder / "features/coco/model_0060000/features.tsv", [["1", "x"]])
    labels = write_rows(one.with_name("predictions.tsv"), [["1", "x"]])
    parts = [write_rows(folder / f"features/cc/{part}/features.tsv", [["1", "x"]]) for part in range(2)]
    shared = write_rows(folder / "labels/cc/predictions_gt.tsv", [["1", "x"]])
    assert corpus_features(corpus) == [
        FeatureFiles("coco", one, labels),
        *(FeatureFiles("googlecc", part, shared) for part in parts),
    ]
    one.unlink()
    with pytest.raises(ValueError, match=r"model_0060000: expected features\.tsv, or parts .* data set coco"):
        corpus_features(corpus)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["coco_cap_1", "coco_cap_1"], r"small\.tsv, row 0: not enough values"),
        (["coco_cap_1", "coco_cap_1", " "], r"small\.tsv, row 0: expected words"),
        (
            ["coco_cap_1", "coco_cap_2", "A cat."],
            "row 0: expected labels of the photo coco_cap_1, received coco",
        ),
        (["coco_qa_1", "coco_qa_1_13", "Why?"], r"QA_fileB\.tsv: no row has the key '13'"),
        (["cc_0_1", "cc_qa_1_13", "Why?"], r"Cannot read .*labels/cc/QA_fileB\.tsv"),
    ],
)
def test_malformed_rows_are_named(corpus: Corpus, row: list[str], message: str) -> None:
    write_rows(corpus.rows, [row])
    with pytest.raises(ValueError, match=message):
        read_corpus(corpus)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"Cannot read .*corpus\.yaml"),
        ("just words", r"corpus\.yaml, the top level: expected an object"),
        (YAML.replace("corpus_file", "other"), "field 'corpus_file' is missing"),
        (YAML.replace("corpus: coco_googlecc", "corpus: coco_oi"), "field 'oi' is missing"),
    ],
)
def test_a_malformed_yaml_file_is_named(folder: Path, text: str, message: str) -> None:
    (folder / "corpus.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_corpus(folder / "corpus.yaml", folder)


def test_missing_files_are_named(folder: Path, corpus: Corpus) -> None:
    with pytest.raises(ValueError, match=r"Cannot read .*absent\.yaml"):
        load_corpus(folder / "absent.yaml", folder)
    corpus.rows.unlink()
    with pytest.raises(ValueError, match=r"Cannot read .*small\.tsv"):
        read_corpus(corpus)


def test_captions_are_read_from_a_tsv_and_from_a_list(tmp_path: Path) -> None:
    rows = [["0042", json.dumps([{"caption": "A dog."}, {"caption": "Dog."}])], ["a.jpg", '[{"caption": "A cat."}]']]
    assert read_caption_tsv(write_rows(tmp_path / "c.tsv", rows), "coco") == [
        PhotoText("coco/42", ("A dog.", "Dog.")),
        PhotoText("coco/a.jpg", ("A cat.",)),
    ]
    listed = tmp_path / "train_caption.json"
    listed.write_text(json.dumps([{"image_id": "42", "caption": "A dog."}, {"image_id": 42, "caption": "Dog."}]))
    assert read_caption_list(listed, "coco") == [PhotoText("coco/42", ("A dog.", "Dog."))]
    listed.write_text(json.dumps([{"image_id": "42", "id": 7}]))
    with pytest.raises(ValueError, match=r"train_caption\.json, caption 7: field 'caption' is missing"):
        read_caption_list(listed, "coco")
    with pytest.raises(ValueError, match=r"c\.tsv, key 1: expected an object"):
        read_caption_tsv(write_rows(tmp_path / "d" / "c.tsv", [["1", '["words"]']]), "coco")
