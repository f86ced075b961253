"""A bundle's figures, taken through the running server: what users get is what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillvlm.data.content_words import ContentWords
from distillvlm.data.photos import load_photos
from distillvlm.data.records import Split, of_split
from distillvlm.evaluation.report import evaluate, markdown
from distillvlm.evaluation.results import read_vqa_results
from distillvlm.evaluation.server import measure
from distillvlm.export.manifest import Metric, replace_metrics

METHOD = "{split} split through the server (POST /caption, POST /vqa), beam 5; 95% bootstrap over photos"


def measure_server(
    url: str, data_root: Path, split: Split, blind: Path | None, folder: Path, wordnet: Path
) -> dict[str, Any]:
    """Captions and answers of a split's photos, scored; writes `report.json` and `report.md` into `folder`.

    blind: folder with the blind model's answers, `blind-<data set>.json`, as `photos-small` leaves them.
    wordnet: see `ContentWords`.
    """
    records = load_photos(data_root)
    chosen = of_split(records, split)
    captions, answers = measure(url, chosen).texts()
    blind_answers = None
    if blind is not None:
        sources = {record.source for record in chosen if record.questions}
        blind_answers = {source: read_vqa_results(blind / f"blind-{source}.json") for source in sources}
    report = evaluate(chosen, of_split(records, "train"), captions, answers, blind_answers, ContentWords(wordnet))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    (folder / "report.md").write_text(markdown(report))
    return report


def write_metrics(bundle: Path, report: dict[str, Any], split: Split) -> None:
    """Puts a report's figures into the bundle's manifest in place of those that stand there."""
    metrics = tuple(_metrics(report, METHOD.format(split={"val": "validation"}.get(split, split))))
    replace_metrics(bundle, metrics)


def _metrics(report: dict[str, Any], method: str) -> Iterator[Metric]:
    for source, row in report["captions"].items():
        for name in ("CIDEr-D", "BLEU-4"):
            yield Metric(name, row[name]["value"], source, row["photos"], method, (row[name]["low"], row[name]["high"]))
        yield Metric("distinct sentences", row["distinct_sentences"], source, row["photos"], method)
        for name, share in row["naming"].items():
            yield Metric(name, share["value"], source, share["items"], method, (share["low"], share["high"]))
    for source, row in report["questions"].items():
        value = row["accuracy"]
        yield Metric(row["metric"], value["value"], source, row["questions"], method, (value["low"], value["high"]))
    for row in report["comparisons"]:
        name = f"accuracy ahead of {row['b']}"
        yield Metric(name, row["difference"], "coco and daquar", row["pairs"], method, (row["low"], row["high"]))
