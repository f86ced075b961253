"""A bundle's figures, taken through the running server: what users get is what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillvlm.data.content_words import ContentWords
from distillvlm.data.photos import load_photos
from distillvlm.data.records import Split, of_split
from distillvlm.data.text_only import load_text_only
from distillvlm.evaluation.report import evaluate, markdown
from distillvlm.evaluation.results import read_vqa_results
from distillvlm.evaluation.server import measure
from distillvlm.export.manifest import Metric, replace_metrics

METHOD = "{split} split through the server (POST /caption, POST /vqa), beam 5; 95% bootstrap over photos"


def measure_server(
    url: str, data_root: Path, split: Split, blind: Path | None, folder: Path, wordnet: Path
) -> dict[str, Any]:
    """Captions and answers of a split's photos, scored; writes `report.json` and `report.md` into `folder`.

    blind: folder with the blind model's answers, `blind-<data set>.json`, as the stage `evaluation` leaves them.
    wordnet: see `ContentWords`.
    """
    records = load_photos(data_root)
    chosen = of_split(records, split)
    captions, answers = measure(url, chosen).texts()
    blind_answers = None
    if blind is not None:
        sources = {record.source for record in chosen if record.questions}
        blind_answers = {source: read_vqa_results(blind / f"blind-{source}.json") for source in sources}
    has_texts = any((data_root / "text").glob("vqa_v2_60k.json*"))
    unseen = load_text_only(data_root / "text", records) if has_texts else ()
    training, content_words = of_split(records, "train"), ContentWords(wordnet)
    report = evaluate(chosen, training, captions, answers, blind_answers, content_words, unseen)
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
        for name in ("CIDEr-D", "CIDEr-D (training idf)", "BLEU-4"):
            yield Metric(name, row[name]["value"], source, row["photos"], method, (row[name]["low"], row[name]["high"]))
        yield Metric("distinct sentences", row["distinct_sentences"], source, row["photos"], method)
        for name, share in row["naming"].items():
            yield Metric(name, share["value"], source, share["items"], method, (share["low"], share["high"]))
    for name, questions in {"": report["questions"], **report["baselines"]}.items():
        yield from _accuracies(questions, f" of {name}" if name else "", method)
    for row in report["comparisons"]:
        name = f"{row['metric']} ahead of {row['b']}"
        yield Metric(name, row["difference"], row["data"], row["pairs"], method, (row["low"], row["high"]))


def _accuracies(questions: dict[str, Any], whose: str, method: str) -> Iterator[Metric]:
    """Over all questions of a data set, and by type of answer. whose: ends a metric's name."""
    for source, row in questions.items():
        by_type = {f"{row['metric']}, {kind}": typed for kind, typed in row["by_answer_type"].items()}
        for name, asked in {row["metric"]: row, **by_type}.items():
            value = asked["accuracy"]
            interval = (value["low"], value["high"])
            yield Metric(name + whose, value["value"], source, asked["questions"], method, interval)
