"""WordNet's index files, as far as content words need them."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def write_wordnet(folder: Path, lemmas: Mapping[str, Sequence[str]]) -> Path:
    """lemmas: of each part of speech, "noun", "verb" and "adj"."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, words in lemmas.items():
        lines = ["  1 This software and database is being provided", *(f"{word} n 1 0 1 0 0001" for word in words)]
        (folder / f"index.{part}").write_text("\n".join(lines))
    return folder
