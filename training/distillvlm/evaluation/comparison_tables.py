"""Tables and a picture of what comparing cells says, in Markdown and SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from distillvlm.evaluation.comparisons import Comparison, Results

matplotlib.use("agg")
from matplotlib import pyplot

Rows = Sequence[tuple[str, str]]
"""Cells, each with what it is."""


@dataclass(frozen=True)
class Sweep:
    """Cells that differ in one number. axis: what it is. arms: by name, the cell at each number."""

    axis: str
    arms: Mapping[str, Mapping[float, str]]

    def done(self, results: Results) -> dict[str, dict[float, str]]:
        """Arms of which two cells or more have results."""
        there = {
            arm: {number: cell for number, cell in cells.items() if results.seeds(cell)}
            for arm, cells in self.arms.items()
        }
        return {arm: cells for arm, cells in there.items() if len(cells) > 1}


def mean_table(results: Results, rows: Rows) -> str:
    """Mean over seeds, with its standard deviation where there are several; cells without results are left out."""
    metrics = results.metrics
    lines = [f"| cell | | seeds | {' | '.join(metrics)} |", "|---|---|---|" + "---|" * len(metrics)]
    for cell, about in rows:
        seeds = results.seeds(cell)
        if seeds:
            values = [_mean(results, cell, metric) for metric in metrics]
            lines.append(f"| `{cell}` | {about} | {len(seeds)} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _mean(results: Results, cell: str, metric: str) -> str:
    """Empty where the cell has not been measured so."""
    return spread(results.values(cell, metric)) if results.measured(metric, cell) else ""


def spread(values: Sequence[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{deviation}"


def comparison_table(comparisons: Sequence[Comparison], pairs: Sequence[tuple[str, str]]) -> str:
    """The comparisons of some pairs of cells, whatever was resampled."""
    lines = ["| difference | metric | points | 95% interval | over |", "|---|---|---|---|---|"]
    for row in comparisons:
        if (row.a, row.b) in pairs:
            over = f"{row.pairs} {row.unit}s"
            lines.append(f"| `{row.a}` - `{row.b}` | {row.metric} | {row.difference:+.1f} | {interval(row)} | {over} |")
    return "\n".join(lines) + "\n"


def cell_table(results: Results, comparisons: Sequence[Comparison], rows: Rows, base: str) -> str:
    """Every cell's means, and how far it is from cell `base` over photos."""
    by_cell = {(row.a, row.metric): row for row in comparisons if row.b == base and row.unit == results.unit}
    columns = [f"{metric} | from `{base}`" for metric in results.metrics]
    lines = [f"| cell | | seeds | {' | '.join(columns)} |", "|---|---|---|" + "---|---|" * len(columns)]
    for cell, about in rows:
        seeds = results.seeds(cell)
        if not seeds:
            continue
        found = []
        for metric in results.metrics:
            row = by_cell.get((cell, metric))
            found.append(_mean(results, cell, metric))
            found.append(f"{row.difference:+.1f} {interval(row)}" if row else "")
        lines.append(f"| `{cell}` | {about} | {len(seeds)} | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def interval(row: Comparison) -> str:
    return f"[{row.low:+.1f}, {row.high:+.1f}]"


def draw_differences(comparisons: Sequence[Comparison], base: str, path: Path) -> None:
    """A row for each cell and a panel for each metric: how far it is from cell `base`, with its interval over
    photos."""
    rows = {(row.a, row.metric): row for row in comparisons if row.b == base and row.unit != "seed"}
    cells, metrics = (list(dict.fromkeys(key[place] for key in rows)) for place in (0, 1))
    columns = max(1, len(metrics))  # an empty picture where nothing has been compared yet
    size = (4.5 * columns, 1.2 + 0.32 * len(cells))
    figure, (panels,) = pyplot.subplots(1, columns, sharey=True, figsize=size, squeeze=False)
    for metric, panel in zip(metrics, panels[: len(metrics)], strict=True):
        for place, cell in enumerate(cells):
            row = rows[cell, metric]
            panel.plot([row.low, row.high], [place, place], color="tab:blue")
            panel.plot(row.difference, place, "o", color="tab:blue")
        panel.axvline(0, color="grey", linewidth=0.8)
        panel.set_title(f"{metric}, points from `{base}`")
        panel.set_yticks(range(len(cells)), cells)
        panel.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_sweep(results: Results, sweep: Sweep, path: Path) -> None:
    """A panel for each metric and a line for each arm, of the seeds that all of its cells have; logarithmic in the
    number."""
    metrics = results.metrics
    figure, (panels,) = pyplot.subplots(1, len(metrics), figsize=(4.5 * len(metrics), 3.2), squeeze=False)
    for metric, panel in zip(metrics, panels, strict=True):
        for arm, cells in sweep.done(results).items():
            seeds = results.seeds(*cells.values())
            means = [np.mean(results.values(cell, metric, seeds)) for cell in cells.values()]
            panel.plot(list(cells), means, "o-", label=arm)
        panel.set_xscale("log")
        panel.set_title(metric)
        panel.set_xlabel(sweep.axis)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
