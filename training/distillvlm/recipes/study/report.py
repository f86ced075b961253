"""`study.md` with its pictures and `study.json`, from whatever cells are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from distillvlm.data.atomic_files import write_text_atomically
from distillvlm.evaluation.comparison_tables import (
    cell_table,
    comparison_table,
    draw_differences,
    draw_sweep,
    interval,
    mean_table,
)
from distillvlm.evaluation.comparisons import Comparison, Results, as_json
from distillvlm.recipes.pipeline import current_commit
from distillvlm.recipes.study.cells import HEADLINE, PLAIN, Cell, Group
from distillvlm.recipes.study.kept_scores import Shares, kept_shares, read_kept
from distillvlm.recipes.study.questions import (
    FINDINGS,
    HEADLINE_PAIRS,
    LIMITS,
    QUESTIONS,
    SEARCHED,
    SWEEPS,
    TEACHER_PAIRS,
    TEACHERS,
)


def write_report(
    kept: Path, origins: Mapping[str, str], groups: Sequence[Group], docs: Path, preface: str, models: str
) -> None:
    """kept: folder of scores (`keep_scores`). preface: what was done, for people. models: a table of sizes and costs.
    `docs` gets the files."""
    test, val = read_kept(kept, "test", origins), read_kept(kept, "val", origins)
    asked = [pair for pairs in QUESTIONS.values() for pair in pairs]
    pairs = [
        *TEACHER_PAIRS,
        *HEADLINE_PAIRS,
        *asked,
        *_against_plain([cell for group in groups for cell in group.cells]),
    ]
    comparisons = [row for a, b in dict.fromkeys(pairs) for row in test.compare(a, b)]
    settings = [row for a, b in SEARCHED for row in val.compare(a, b)]
    docs.mkdir(parents=True, exist_ok=True)
    draw_differences(comparisons, PLAIN.name, docs / "study.svg")
    parts = [
        "# What distillation is worth, on generated scenes\n",
        preface,
        "## What of the paper shows here\n",
        "It shows where every interval of the difference, over scenes and over three seeds or more, is above zero. "
        "Of fewer the difference stands there with its interval over scenes, which tells nothing of other seeds.\n",
        finding_table(comparisons, test.metrics),
        _unfinished(test, groups),
        "## Teachers\n",
        mean_table(test, TEACHERS),
        comparison_table(comparisons, TEACHER_PAIRS),
        "## Headline\n",
        mean_table(test, _rows(HEADLINE)),
        comparison_table(comparisons, HEADLINE_PAIRS),
        *(part for title, pairs in QUESTIONS.items() for part in _answer(title, comparisons, pairs)),
        *_answer("Settings, on validation scenes", settings, SEARCHED),
        "## Every cell\n",
        "Differences are from `none` with the same seeds, with 95% bootstrap intervals over test scenes.\n",
        "![Differences from no distillation](study.svg)\n",
        cell_table(test, comparisons, _rows(*groups), PLAIN.name),
        *_sweeps(test, docs),
        "## Shares of the gradient\n",
        "At the last layer's input, of `all`, seed 1, averaged over 50 steps at the start, at a tenth and at half.\n",
        share_table(kept_shares(kept / f"{HEADLINE.name}-1.npz", "all")),
        "## Sizes and costs\n",
        models,
        "## What this leaves open\n",
        LIMITS,
        "",
    ]
    write_text_atomically(docs / "study.md", "\n".join(parts))
    write_text_atomically(docs / "study.json", as_json(current_commit(), [test, val], [*comparisons, *settings]))


def _answer(title: str, comparisons: Sequence[Comparison], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A section; none before one of its cells is done."""
    if not any((row.a, row.b) in pairs for row in comparisons):
        return []
    return [f"## {title}\n", comparison_table(comparisons, pairs)]


def _sweeps(test: Results, docs: Path) -> list[str]:
    """A picture of each sweep of which there is anything to see."""
    drawn = {name: sweep for name, sweep in SWEEPS.items() if sweep.done(test)}
    for name, sweep in drawn.items():
        draw_sweep(test, sweep, docs / f"{name}.svg")
    return [f"![By {sweep.axis}]({name}.svg)\n" for name, sweep in drawn.items()]


def finding_table(comparisons: Sequence[Comparison], metrics: Sequence[str]) -> str:
    """What the paper found, and whether it is found here."""
    lines = [f"| | {' | '.join(metrics)} |", "|---|" + "---|" * len(metrics)]
    for finding, a, b in FINDINGS:
        found = [
            _verdict([row for row in comparisons if (row.a, row.b, row.metric) == (a, b, each)]) for each in metrics
        ]
        lines.append(f"| {finding}: `{a}` - `{b}` | {' | '.join(found)} |")
    return "\n".join(lines) + "\n"


def _verdict(rows: Sequence[Comparison]) -> str:
    """rows: of one difference, each over something else."""
    if not rows:
        return "not run yet"
    if not any(row.unit == "seed" for row in rows):
        said = "not tested over seeds"
    elif all(row.low > 0 for row in rows):
        said = "**shows**"
    elif all(row.high < 0 for row in rows):
        said = "**the other way round**"
    else:
        said = "does not show"
    return f"{said}, {rows[0].difference:+.1f} {interval(rows[0])}"


def _rows(*groups: Group) -> list[tuple[str, str]]:
    return [(cell.name, cell.about) for group in groups for cell in group.cells]


def _unfinished(results: Results, groups: Sequence[Group]) -> str:
    """What has fewer seeds than planned, for people; empty once all is done."""
    done = {cell.name: len(results.seeds(cell.name)) for group in groups for cell in group.cells}
    fewer = [
        f"`{cell.name}` ({done[cell.name]} of {group.seeds})"
        for group in groups
        for cell in group.cells
        if done[cell.name] < group.seeds
    ]
    return f"Seeds that are still to be run: {', '.join(fewer)}.\n" if fewer else ""


def _against_plain(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    known = {name for name, _ in HEADLINE_PAIRS}
    return [(cell.name, "none") for cell in cells if cell.name not in {*known, "none"}]


def share_table(by_stage: Mapping[str, Shares]) -> str:
    lines = ["| stage | window | shares |", "|---|---|---|"]
    for stage in ("pretraining", "finetuning"):
        for window, shares in by_stage.get(stage, {}).items():
            said = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            lines.append(f"| {stage} | {window} | {said} |")
    return "\n".join(lines) + "\n"
