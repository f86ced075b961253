"""`study.md` with its pictures and `study.json`, from whatever cells are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from distillvlm.data.atomic_files import write_text_atomically
from distillvlm.evaluation.comparison_tables import cell_table, comparison_table, draw_differences, mean_table
from distillvlm.evaluation.comparisons import Results, as_json
from distillvlm.recipes.pipeline import current_commit
from distillvlm.recipes.study.cells import HEADLINE, PLAIN, SEARCH, Cell, Group
from distillvlm.recipes.study.kept_scores import Shares, kept_shares, read_kept

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
    pairs = [*TEACHER_PAIRS, *HEADLINE_PAIRS, *_against_plain([cell for group in groups for cell in group.cells])]
    comparisons = [row for a, b in pairs for row in test.compare(a, b)]
    docs.mkdir(parents=True, exist_ok=True)
    draw_differences(comparisons, PLAIN.name, docs / "study.svg")
    parts = [
        "# What distillation is worth, on generated scenes\n",
        preface,
        "## Teachers\n",
        mean_table(test, TEACHERS),
        comparison_table(comparisons, TEACHER_PAIRS),
        "## Settings, chosen on validation scenes\n",
        mean_table(val, _rows(HEADLINE, *SEARCH)),
        "## Headline\n",
        mean_table(test, _rows(HEADLINE)),
        comparison_table(comparisons, HEADLINE_PAIRS),
        "## Every cell\n",
        "Differences are from `none` with the same seeds, with 95% bootstrap intervals over test scenes.\n",
        "![Differences from no distillation](study.svg)\n",
        cell_table(test, comparisons, _rows(*groups), PLAIN.name),
        _unfinished(test, groups),
        "## Shares of the gradient\n",
        "At the last layer's input, of `all`, seed 1, averaged over 50 steps at the start, at a tenth and at half.\n",
        share_table(kept_shares(kept / f"{HEADLINE.name}-1.npz", "all")),
        "## Sizes and costs\n",
        models,
    ]
    write_text_atomically(docs / "study.md", "\n".join(parts))
    write_text_atomically(docs / "study.json", as_json(current_commit(), [test, val], comparisons))


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
