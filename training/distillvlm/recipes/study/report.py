"""`study.md` with its pictures and `study.json`, from whatever cells are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from distillvlm.data.atomic_files import write_text_atomically
from distillvlm.recipes.study.cells import HEADLINE, SEARCH, Cell, Group
from distillvlm.recipes.study.kept_scores import Shares, kept_shares, read_kept
from distillvlm.recipes.study.results import Comparison, Results, as_json
from distillvlm.recipes.study.scores import METRICS

matplotlib.use("agg")
from matplotlib import pyplot

TEACHERS = (
    ("teacher", "own boxes"),
    ("teacher, student's boxes", "student's boxes, before adaptation"),
    ("control", "own boxes, as many steps more"),
    ("control, student's boxes", "the same, fed the student's boxes: un-adapted"),
    ("adapted, student's boxes", "student's boxes, adapted"),
)
TEACHER_PAIRS = (
    ("teacher, student's boxes", "teacher"),
    ("adapted, student's boxes", "control, student's boxes"),
    ("adapted, student's boxes", "control"),
)
HEADLINE_PAIRS = (("all", "none"), ("all", "all-unadapted"), ("all-unadapted", "none"))


def write_report(
    kept: Path, origins: Mapping[str, str], groups: Sequence[Group], docs: Path, preface: str, models: str
) -> None:
    """kept: folder of scores (`keep_scores`). preface: what was done, for people. models: a table of sizes and costs.
    `docs` gets the files."""
    test, val = read_kept(kept, "test", origins), read_kept(kept, "val", origins)
    cells = [cell for group in groups for cell in group.cells]
    pairs = [*TEACHER_PAIRS, *HEADLINE_PAIRS, *_against_plain(cells)]
    comparisons = [row for a, b in pairs for row in test.compare(a, b)]
    docs.mkdir(parents=True, exist_ok=True)
    draw_differences([row for row in comparisons if row.b == "none" and row.unit == "scene"], docs / "study.svg")
    parts = [
        "# What distillation is worth, on generated scenes\n",
        preface,
        "## Teachers\n",
        table(test, TEACHERS),
        comparison_table(comparisons, TEACHER_PAIRS),
        "## Settings, chosen on validation scenes\n",
        table(val, [(cell.name, cell.about) for group in (HEADLINE, *SEARCH) for cell in group.cells]),
        "## Headline\n",
        table(test, [(cell.name, cell.about) for cell in HEADLINE.cells]),
        comparison_table(comparisons, HEADLINE_PAIRS),
        "## Every cell\n",
        "Differences are from `none` with the same seeds, with 95% bootstrap intervals over test scenes.\n",
        "![Differences from no distillation](study.svg)\n",
        cell_table(test, comparisons, cells),
        "## Shares of the gradient\n",
        "At the last layer's input, of `all`, seed 1, averaged over 50 steps at the start, at a tenth and at half.\n",
        share_table(kept_shares(kept / f"{HEADLINE.name}-1.npz", "all")),
        "## Sizes and costs\n",
        models,
    ]
    write_text_atomically(docs / "study.md", "\n".join(parts))
    write_text_atomically(docs / "study.json", as_json([test, val], comparisons))


def _against_plain(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    known = {name for name, _ in HEADLINE_PAIRS}
    return [(cell.name, "none") for cell in cells if cell.name not in {*known, "none"}]


def table(results: Results, rows: Sequence[tuple[str, str]]) -> str:
    """Mean over seeds, with its standard deviation where there are several."""
    lines = ["| cell | | seeds | " + " | ".join(METRICS) + " |", "|---|---|---|" + "---|" * len(METRICS)]
    for cell, about in rows:
        seeds = results.seeds(cell)
        if seeds:
            values = " | ".join(spread(results.values(cell, metric)) for metric in METRICS)
            lines.append(f"| `{cell}` | {about} | {len(seeds)} | {values} |")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{deviation}"


def comparison_table(comparisons: Sequence[Comparison], pairs: Sequence[tuple[str, str]]) -> str:
    lines = ["| difference | metric | points | 95% interval | over |", "|---|---|---|---|---|"]
    for row in comparisons:
        if (row.a, row.b) in pairs:
            over = f"{row.pairs} {row.unit}s"
            lines.append(
                f"| `{row.a}` - `{row.b}` | {row.metric} | {row.difference:+.1f} | {_interval(row)} | {over} |"
            )
    return "\n".join(lines) + "\n"


def cell_table(results: Results, comparisons: Sequence[Comparison], cells: Sequence[Cell]) -> str:
    by_cell = {(row.a, row.metric): row for row in comparisons if row.b == "none" and row.unit == "scene"}
    lines = ["| cell | | seeds | CIDEr-D | from `none` | VQA | from `none` |", "|---|---|---|---|---|---|---|"]
    for cell in cells:
        seeds = results.seeds(cell.name)
        if not seeds:
            continue
        columns = []
        for metric in METRICS:
            row = by_cell.get((cell.name, metric))
            columns.append(spread(results.values(cell.name, metric)))
            columns.append(f"{row.difference:+.1f} {_interval(row)}" if row else "")
        lines.append(f"| `{cell.name}` | {cell.about} | {len(seeds)} | {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def share_table(by_stage: Mapping[str, Shares]) -> str:
    lines = ["| stage | window | shares |", "|---|---|---|"]
    for stage in ("pretraining", "finetuning"):
        for window, shares in by_stage.get(stage, {}).items():
            said = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            lines.append(f"| {stage} | {window} | {said} |")
    return "\n".join(lines) + "\n"


def _interval(row: Comparison) -> str:
    return f"[{row.low:+.1f}, {row.high:+.1f}]"


def draw_differences(comparisons: Sequence[Comparison], path: Path) -> None:
    """A row for each cell: how far it is from no distillation, with its interval."""
    cells = list(dict.fromkeys(row.a for row in comparisons))
    figure, axes = pyplot.subplots(1, len(METRICS), sharey=True, figsize=(9, 1.2 + 0.32 * len(cells)))
    for metric, panel in zip(METRICS, axes, strict=True):
        rows = {row.a: row for row in comparisons if row.metric == metric}
        for place, cell in enumerate(cells):
            row = rows[cell]
            panel.plot([row.low, row.high], [place, place], color="tab:blue")
            panel.plot(row.difference, place, "o", color="tab:blue")
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.set_title(f"{metric}, points from no distillation")
        panel.set_yticks(range(len(cells)), cells)
        panel.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
