"""A page of photos with what a served bundle says of them beside what people say: drawn by lot, failures included."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image, ImageOps

from distillvlm.data.atomic_files import write_text_atomically
from distillvlm.data.photos import load_photos
from distillvlm.data.records import Question, Record, Split, of_split
from distillvlm.evaluation.report import by_source
from distillvlm.evaluation.server import Scored, answer_questions, caption_photos
from distillvlm.evaluation.vqa import answer_score, soft_targets

PHOTOS = 24
QUESTIONS = 2  # of a photo
THUMBNAIL = (320, 320)
STYLE = """
body{font:15px system-ui;max-width:1120px;margin:2em auto;padding:0 1em}
figure{display:inline-block;width:330px;vertical-align:top;margin:0 1em 1.5em 0}img{max-width:320px;max-height:320px}
figcaption{font-size:14px}.said{font-weight:600}.people{color:#666}.wrong{color:#a33}
"""


def write_sheet(url: str, data_root: Path, split: Split, path: Path, photos: int = PHOTOS, seed: int = 0) -> None:
    """Writes one HTML file that holds everything, the photos made small.

    As many photos of each data set as their number allows; of each, its first questions by people.

    Raises:
        ServerError: see `caption_photos` and `answer_questions`.
    """
    chosen = draw_by_lot(of_split(load_photos(data_root), split), photos, seed)
    captions = caption_photos(url, [record.path for record in chosen])
    pairs = [(record, question) for record in chosen for question in first_questions(record)]
    given = answer_questions(url, [(record.path, question.text) for record, question in pairs])
    answers: dict[str, list[tuple[Question, Scored]]] = {record.photo_id: [] for record in chosen}
    for (record, question), answer in zip(pairs, given, strict=True):
        answers[record.photo_id].append((question, answer))
    figures = (_figure(record, captions[record.path], answers[record.photo_id]) for record in chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, _page(url, split, seed, figures))


def draw_by_lot(records: Sequence[Record], photos: int, seed: int) -> list[Record]:
    """As many of each data set, in turn, until there are enough or none is left."""
    random = Random(seed)
    piles = [random.sample(pile, len(pile)) for _, pile in sorted(by_source(records).items())]
    drawn: list[Record] = []
    while len(drawn) < photos and any(piles):
        drawn += [pile.pop() for pile in piles if pile][: photos - len(drawn)]
    return drawn


def first_questions(record: Record) -> list[Question]:
    return [question for question in record.questions if question.is_human][:QUESTIONS]


def _figure(record: Record, caption: Scored, answers: Sequence[tuple[Question, Scored]]) -> str:
    people = f'<div class="people">{escape(record.captions[0])}</div>' if record.captions else ""
    return (
        f'<figure><img alt="{escape(record.photo_id)}" src="{_thumbnail(record.path)}"><figcaption>'
        f'<div><span class="said">{escape(caption.text)}</span> ({caption.score:.2f})</div>{people}'
        f"{''.join(_answer(*one) for one in answers)}</figcaption></figure>"
    )


def _answer(question: Question, answer: Scored) -> str:
    targets = soft_targets(question)
    best = max(targets, key=lambda one: targets[one], default="")
    kind = "said" if answer_score(answer.text, question) > 0 else "said wrong"
    return (
        f'<div>{escape(question.text)} <span class="{kind}">{escape(answer.text)}</span> ({answer.score:.2f}) '
        f'<span class="people">{escape(best)}</span></div>'
    )


def _thumbnail(path: Path) -> str:
    with Image.open(path) as picture:
        small = ImageOps.exif_transpose(picture).convert("RGB")
    small.thumbnail(THUMBNAIL)
    content = BytesIO()
    small.save(content, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


def _page(url: str, split: Split, seed: int, figures: Iterable[str]) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sheet</title><style>{STYLE}</style></head><body>
<p>Photos of the {split} split, drawn by lot (seed {seed}). In bold what the server at {escape(url)} says, with its
score; in grey what people say; in red an answer that no one gave. Captions and photos belong to their authors: not for
publication.</p>
{"".join(figures)}
</body></html>
"""
