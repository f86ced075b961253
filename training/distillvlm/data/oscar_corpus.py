"""OSCAR's pre-training corpus: captions, and questions with answers, of photos that are known by their features.

A YAML file names it (paths of labels from its folder, paths of features from a root of their own):
    corpus: coco_flickr30k_gqa            the data sets, joined by "_"
    corpus_file: coco_flickr30k_gqa.tsv   rows `photo, labels, text`
    image_label_path: {coco: labels/coco, ...}       predictions_gt.tsv (objects); QA_fileB.tsv (answers)
    image_feature_path: {coco: features/coco, ...}   features.tsv, or one in each of the parts 0/, 1/, ...
A row's photo is "coco_cap_391895" (data set first, the photo's key last); its labels are "coco_cap_391895" for a
caption and "coco_qa_391895_12" for a question, whose answers QA_fileB.tsv has under "12".

Source: https://github.com/microsoft/Oscar, oscar/datasets/oscar_tsv.py, VinVL_DOWNLOAD.md, issues 85 and 106.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from distillvlm.data.annotation_files import checked_list, checked_object, checked_text, entries, read_json, reading
from distillvlm.data.oscar_store import FeatureFiles, photo_id_of
from distillvlm.data.records import Question
from distillvlm.data.text_only import PhotoText
from distillvlm.data.tsv import TsvFile

ALIASES = {"cc": "googlecc"}  # rows say "cc" where the YAML file says "googlecc"
ANSWERS = "QA_fileB.tsv"


@dataclass(frozen=True)
class Corpus:
    """rows: the TSV of texts. labels, features: the folders of each data set."""

    rows: Path
    labels: dict[str, Path]
    features: dict[str, Path]


def load_corpus(path: Path, feature_root: Path) -> Corpus:
    """
    Raises:
        ValueError: the YAML file can't be read or lacks a data set's folder; names both.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
    with reading(path, "the top level"):
        fields = checked_object(content)
        names = checked_text(fields["corpus"]).split("_")
        return Corpus(
            rows=path.parent / checked_text(fields["corpus_file"]),
            labels=_folders(fields, "image_label_path", names, path.parent),
            features=_folders(fields, "image_feature_path", names, feature_root),
        )


def read_corpus(corpus: Corpus) -> list[PhotoText]:
    """What is said of each photo; a question's id is its row. Rows of data sets that are not the corpus's are left out.

    Raises:
        ValueError: a file is missing or a row malformed; names file and row.
    """
    answers = _Answers(corpus)
    gathered = _Gathered()
    for row, (photo, labels, text) in _rows(corpus.rows):
        with reading(corpus.rows, f"row {row}"):
            source = _source_of(photo)
            if source not in corpus.labels:
                continue
            key, parts = photo.split("_")[-1], labels.split("_")
            photo_id, is_question = photo_id_of(source, key), "qa" in parts
            if (parts[-2] if is_question else parts[-1]) != key:
                raise ValueError(f"expected labels of the photo {photo}, received {labels}")
            if is_question:
                asked = Question(row, checked_text(text), answers.of(source, parts[-1]))
                gathered.questions[photo_id].append(asked)
            else:
                gathered.captions[photo_id].append(checked_text(text))
    return gathered.texts()


def corpus_features(corpus: Corpus) -> list[FeatureFiles]:
    """The files of regions of the corpus, for `store_of_tsv`.

    Labels are `predictions_gt.tsv` where there is one, else the `predictions.tsv` that VinVL's features come with.
    Raises:
        ValueError: a data set has no `features.tsv`; names its folder.
    """
    files = []
    for source, folder in corpus.features.items():
        features = [path for path in (folder / "features.tsv",) if path.is_file()]
        features = features or sorted(folder.glob("*/features.tsv"))
        if not features:
            raise ValueError(f"{folder}: expected features.tsv, or parts that hold one, of the data set {source}")
        shared = corpus.labels[source] / "predictions_gt.tsv"
        for path in features:
            beside = path.with_name("predictions.tsv")
            labels = next((labels for labels in (shared, beside) if labels.is_file()), None)
            files.append(FeatureFiles(source, path, labels))
    return files


def read_caption_tsv(path: Path, source: str) -> list[PhotoText]:
    """Rows `key, [{"caption"}, ...]`: the form of captions in later code of OSCAR's authors.

    Raises:
        ValueError: the file is missing or a row malformed; names file and key.
    """
    table = TsvFile(path)
    texts = []
    for key in table.row_of:
        columns = table.columns_of(key)
        with reading(path, f"key {key}"):
            listed = [checked_object(entry)["caption"] for entry in checked_list(json.loads(columns[1]))]
            texts.append(PhotoText(photo_id_of(source, key), tuple(map(checked_text, listed))))
    return texts


def read_caption_list(path: Path, source: str) -> list[PhotoText]:
    """A list of {"image_id", "caption"}: OSCAR's `train_caption.json`, and COCO's form of results (generated captions).

    Raises:
        ValueError: the file is missing or a record malformed; names file and record.
    """
    gathered = _Gathered()
    for name, entry in entries(path, read_json(path), "caption", "id"):
        with reading(path, name):
            gathered.captions[photo_id_of(source, str(entry["image_id"]))].append(checked_text(entry["caption"]))
    return gathered.texts()


@dataclass
class _Gathered:
    captions: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    questions: dict[str, list[Question]] = field(default_factory=lambda: defaultdict(list))

    def texts(self) -> list[PhotoText]:
        return [
            PhotoText(photo_id, tuple(self.captions.get(photo_id, ())), tuple(self.questions.get(photo_id, ())))
            for photo_id in dict.fromkeys((*self.captions, *self.questions))
        ]


class _Answers:
    """Answers of each data set's questions, opened when a row first needs them."""

    def __init__(self, corpus: Corpus) -> None:
        self.labels = corpus.labels
        self.tables: dict[str, TsvFile] = {}

    def of(self, source: str, key: str) -> tuple[str, ...]:
        if source not in self.tables:
            self.tables[source] = TsvFile(self.labels[source] / ANSWERS)
        table = self.tables[source]
        columns = table.columns_of(key)
        with reading(table.path, f"key {key}"):
            return tuple(checked_text(answer) for answer in checked_list(json.loads(columns[1])["labels"]))


def _folders(fields: dict[str, Any], section: str, names: list[str], root: Path) -> dict[str, Path]:
    folders = checked_object(fields[section])
    return {name: root / checked_text(folders[name]) for name in names}


def _source_of(photo: str) -> str:
    name = photo.split("_", 1)[0]
    return ALIASES.get(name, name)


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """All rows in order; nothing but the row stays in memory."""
    try:
        with (
            path.open("rb") as file,
            tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, mininterval=1.0) as bar,
        ):
            for row, line in enumerate(file):
                bar.update(len(line))
                with reading(path, f"row {row}"):
                    photo, labels, text = (column.strip() for column in line.decode("utf-8").split("\t"))
                yield row, (photo, labels, text)
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error}") from error
