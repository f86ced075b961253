"""`photos-evidence.md` with its pictures and `photos-evidence.json`, from whatever arms are done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from distillvlm.data.atomic_files import write_text_atomically
from distillvlm.evaluation.comparison_tables import cell_table, comparison_table, draw_differences, mean_table
from distillvlm.evaluation.comparisons import Comparison, Results, as_json
from distillvlm.recipes.photos.arms import DISTILLED, PLAIN, Arm, Size
from distillvlm.recipes.pipeline import current_commit

matplotlib.use("agg")
from matplotlib import pyplot

TEACHER, UNADAPTED, ADAPTED = "teacher", "unadapted", "adapted"
BLIND, COPIED = "blind", "nearest photo"
DISTILLED_PAIRS = tuple(
    (DISTILLED + ending, PLAIN + other)
    for ending, other in (("", ", longer"), (" + sequence", " + sequence"), (" + scst", " + scst"))
)
"""What distillation is worth otherwise: for the time that it takes, and where both have what the paper does not."""
OTHERS = (
    (TEACHER, "one member on its own boxes"),
    (UNADAPTED, "the same on the student's boxes, not adapted to them: it has learnt for fewer steps"),
    (ADAPTED, "the same on the student's boxes, adapted: what is learnt from"),
    (BLIND, "a student without photos, trained on all questions and captions"),
    (COPIED, "a caption of the training photo that looks most alike"),
)


@dataclass(frozen=True)
class Curve:
    """CIDEr-D of greedy captions of the validation photos, by steps of fine-tuning."""

    cell: str
    seed: int
    scores: Mapping[int, float]


def write_report(test: Results, val: Results, sizes: Sequence[Size], curves: Sequence[Curve], docs: Path) -> None:
    """test, val: scores of each split's photos. `docs` gets the files."""
    docs.mkdir(parents=True, exist_ok=True)
    tested = [row for size in sizes for row in _compared(test, size, size.tested)]
    pulled = [row for size in sizes for row in _compared(val, size, size.levers)]
    draw_curves(curves, docs / "photos-evidence-curves.svg")
    parts = ["# What distillation is worth, on photos\n", PREFACE]
    for size in sizes:
        parts += [
            f"## The student{size.ending}\n",
            mean_table(test, [*_named(size, OTHERS), *_rows(size, size.pairs)]),
            comparison_table(tested, [(size.cell(DISTILLED), size.cell(PLAIN))]),
            *_gaps(test, size),
            "## Longer, and beyond the paper\n" if size.others else "",
            cell_table(test, tested, _rows(size, size.others), size.cell(PLAIN)) if size.others else "",
            comparison_table(tested, _distilled_pairs(size)) if size.others else "",
        ]
    parts += ["## On the way\n", "![CIDEr-D by steps of fine-tuning](photos-evidence-curves.svg)\n"]
    for size in sizes:
        if any(row.b == size.cell(PLAIN) for row in pulled):
            parts += [LEVERS, cell_table(val, pulled, _rows(size, size.levers), size.cell(PLAIN))]
            parts.append("![Differences from the plain student](photos-evidence-levers.svg)\n")
            draw_differences(pulled, size.cell(PLAIN), docs / "photos-evidence-levers.svg")
    write_text_atomically(docs / "photos-evidence.md", "\n".join(part for part in parts if part))
    write_text_atomically(docs / "photos-evidence.json", as_json(current_commit(), [test, val], [*tested, *pulled]))


PREFACE = """Written by `python -m distillvlm run photos-evidence`. Students with and without distillation begin from
the same weights, those of one training on texts, and see the same photos and texts in the same order. Seeds differ in
that order and in dropout, so an interval over seeds leaves out what other initial weights would change. The weights
looked at are those of the snapshot that is best on validation photos. Figures are of test photos but where validation
photos are named. "CIDEr-D" is of Flickr8k's (each data set with the idf of its own references), "VQA" of COCO's
questions with ten answers, "exact match" of DAQUAR's with one.
"""
LEVERS = """## What each thing is worth

The plain student without one of them, one seed, on validation photos.
"""


def _compared(results: Results, size: Size, arms: Sequence[Arm]) -> list[Comparison]:
    """Every cell's difference from the plain student of its size, and `DISTILLED_PAIRS`."""
    plain = size.cell(PLAIN)
    cells = dict.fromkeys(size.cell(arm.cell) for arm in arms)
    pairs = [*((cell, plain) for cell in cells if cell != plain), *_distilled_pairs(size)]
    return [row for a, b in pairs if {a, b} <= {plain, *cells} for row in results.compare(a, b)]


def _distilled_pairs(size: Size) -> list[tuple[str, str]]:
    return [(size.cell(a), size.cell(b)) for a, b in DISTILLED_PAIRS]


def _rows(size: Size, arms: Sequence[Arm]) -> list[tuple[str, str]]:
    return list({size.cell(arm.cell): (size.cell(arm.cell), arm.about) for arm in arms}.values())


def _named(size: Size, rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(size.cell(cell), about) for cell, about in rows]


def _gaps(results: Results, size: Size) -> Iterator[str]:
    """How much of the way from the plain student to the adapted teacher distillation goes."""
    cells = [size.cell(cell) for cell in (DISTILLED, PLAIN, ADAPTED)]
    if not all(results.seeds(cell) for cell in cells):
        return
    lines = [f"| of the way from `{cells[1]}` to `{cells[2]}` | gap, points | gone by `{cells[0]}` | 95% interval |"]
    lines.append("|---|---|---|---|")
    for metric in results.metrics:
        plain, top = (results.values(cell, metric) for cell in cells[1:])
        closed = results.gap_closed(size.cell(DISTILLED), size.cell(PLAIN), size.cell(ADAPTED), metric)
        gap = sum(top) / len(top) - sum(plain) / len(plain)
        lines.append(f"| {metric} | {gap:+.1f} | {closed.value:.0%} | [{closed.low:.0%}, {closed.high:.0%}] |")
    yield "\n".join(lines) + "\n"


def draw_curves(curves: Sequence[Curve], path: Path) -> None:
    """A line for each arm; those of one cell have one colour."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    colours = {cell: f"C{place}" for place, cell in enumerate(dict.fromkeys(curve.cell for curve in curves))}
    for curve in curves:
        label = curve.cell if curve.seed == min(one.seed for one in curves if one.cell == curve.cell) else None
        axes.plot(*zip(*sorted(curve.scores.items()), strict=True), color=colours[curve.cell], label=label)
    axes.set_xlabel("steps of fine-tuning")
    axes.set_ylabel("CIDEr-D, greedy, validation photos")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
