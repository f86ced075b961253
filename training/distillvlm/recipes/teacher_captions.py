"""Sequence-level distillation: captions that the teacher finds become targets of the student.

The paper does not have it. Source: Kim and Rush 2016, arXiv:1606.07947, section 3.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from distillvlm.data.atomic_files import write_text_atomically
from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.words import Words
from distillvlm.evaluation.predictions import BeamSettings, search_captions
from distillvlm.evaluation.results import ScoredCaption, read_scored_captions, write_scored_captions
from distillvlm.modeling.layouts import DenseLayout, Layout
from distillvlm.modeling.vision_language import VisionLanguageModel

FILE = "captions.json"
PHOTOS_AT_ONCE = 64


@dataclass(frozen=True)
class SequenceLevelSettings:
    """The teacher's captions among a photo's own.

    times: each counts as so many human captions when a batch draws; 0: there are none. captions: of each photo, the
    best of the beam (Kim and Rush take one).
    """

    times: int = 0
    captions: int = 1
    beam: BeamSettings = field(default_factory=BeamSettings)


class CaptionSearch(Protocol):
    """Finds captions of photos, in their order, best first; none without an end, since nothing is learnt from a
    sentence that breaks off. What it finds of `PHOTOS_AT_ONCE` photos depends on no others."""

    def __call__(self, photo_ids: Sequence[str]) -> Iterable[tuple[str, list[ScoredCaption]]]: ...


@dataclass(frozen=True)
class BeamSearch:
    """The best of a beam search."""

    teacher: VisionLanguageModel
    store: RegionStore
    words: Words
    settings: SequenceLevelSettings
    layout: Layout = field(default_factory=DenseLayout)

    def __call__(self, photo_ids: Sequence[str]) -> Iterator[tuple[str, list[ScoredCaption]]]:
        beam = self.settings.beam
        found = search_captions(self.teacher, self.store, photo_ids, self.words, beam, PHOTOS_AT_ONCE, self.layout)
        for photo_id, hypotheses in found:
            finished = [ScoredCaption(each.caption, each.score) for each in hypotheses if each.finished]
            yield photo_id, finished[: self.settings.captions]


def write_teacher_captions(
    search: CaptionSearch, photo_ids: Sequence[str], source: str, folder: Path
) -> dict[str, list[ScoredCaption]]:
    """Searches captions of the photos of the data set `source`; a cut-off run that goes on finds what a whole one does.

    Writes `captions.json`, COCO caption results with a `score`.
    """
    path, found = folder / FILE, folder / "captions.jsonl"
    if path.exists():
        return read_scored_captions(path, source)
    folder.mkdir(parents=True, exist_ok=True)
    captions = _resume(found)
    todo = photo_ids[len(captions) :]
    with found.open("a", encoding="utf-8") as file:
        for photo_id, captions[photo_id] in search(todo):
            file.write(json.dumps([photo_id, [asdict(each) for each in captions[photo_id]]]) + "\n")
    write_scored_captions(path, {photo_id: captions[photo_id] for photo_id in photo_ids}, source)
    found.unlink()
    return read_scored_captions(path, source)


def with_teacher_captions(
    records: Sequence[Record], captions: Mapping[str, Sequence[ScoredCaption]], times: int
) -> list[Record]:
    """The records with the teacher's captions behind their own, each `times` times: batches draw captions uniformly."""
    return [
        replace(
            record,
            captions=record.captions + tuple(each.caption for each in captions.get(record.photo_id, ())) * times,
        )
        for record in records
    ]


def _resume(path: Path) -> dict[str, list[ScoredCaption]]:
    """What a cut-off run has found; what is not whole, a line or the photos of one batch, is taken out of the file."""
    if not path.exists():
        return {}
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    lines = whole.splitlines()
    kept = lines[: len(lines) // PHOTOS_AT_ONCE * PHOTOS_AT_ONCE]
    write_text_atomically(path, "".join(f"{line}\n" for line in kept))
    rows = [json.loads(line) for line in kept]
    return {photo_id: [ScoredCaption(**each) for each in several] for photo_id, several in rows}
