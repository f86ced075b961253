"""Result files in the standard formats, whoever made them, scored by the field's own metrics.

A report is `{"results", "against", "unit", "figures"}`; a figure `{"name", "items", "value", "low", "high"}` in points,
with a 95% interval over photos where its metric allows one, and without a value where it could not be measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import checked_text, entries, read_section, reading
from distillvlm.data.records import Question
from distillvlm.data.vqa import read_questions
from distillvlm.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_sums
from distillvlm.evaluation.captions import BLEU_ORDER, bleu_of_counts, caption_scores
from distillvlm.evaluation.detection import evaluate_detections, read_ground_truth
from distillvlm.evaluation.report import cell
from distillvlm.evaluation.results import read_caption_results, read_detection_results, read_vqa_results
from distillvlm.evaluation.vqa import places_by, vqa_scores

SOURCE = "photo"


def score_caption_file(results: Path, references: Path) -> dict[str, Any]:
    """COCO's caption metrics of the photos that have a caption; the idf of CIDEr-D is that of their references.

    references: COCO's captions; photos need not be listed.
    Raises:
        ValueError: a malformed record, or a caption of a photo without references; names file and record.
    """
    captions, people = read_caption_results(results, SOURCE), _read_references(references)
    for photo_id in captions:
        if photo_id not in people:
            raise ValueError(f"{results}, result {photo_id.removeprefix(f'{SOURCE}/')}: no captions in {references}")
    with _against(results, references):
        scores = caption_scores(captions, {photo_id: people[photo_id] for photo_id in captions})
    figure = partial(_figure, items=len(captions))
    counts = scores.bleu_counts_of_photo
    figures = [
        *(
            figure(f"BLEU-{order}", bootstrap_sums(counts, partial(bleu_of_counts, order=order)))
            for order in range(1, BLEU_ORDER + 1)
        ),
        figure("METEOR", scores.meteor),
        figure("ROUGE-L", bootstrap_mean(scores.rouge_l_of_photo)),
        figure("CIDEr-D", bootstrap_mean(scores.cider_d_of_photo)),
        figure("SPICE", scores.spice),
    ]
    left_out = len(people) - len(captions)
    return {**_report(results, [references], "photos", figures), "photos without a caption": left_out}


def score_answer_file(results: Path, questions: Path, annotations: Path) -> dict[str, Any]:
    """Official VQA accuracy over all questions of VQA v2's files and by type.

    Raises:
        ValueError: a malformed record, a question without an answer, or an answer without a question; names file and
            record.
    """
    answers, of_image = read_vqa_results(results), read_questions(questions, annotations)
    asked = [question for group in of_image.values() for question in group]
    images = [image for image, group in of_image.items() for _ in group]
    known = {question.question_id for question in asked}
    for question_id in answers:
        if question_id not in known:
            raise ValueError(f"{results}, result {question_id}: no such question in {questions}")
    with _against(results, questions):
        points = vqa_scores(asked, answers).points
    figures = [
        _figure(
            name, bootstrap_mean([points[place] for place in places], [images[place] for place in places]), len(places)
        )
        for name, places in _groups(asked)
    ]
    return _report(results, [questions, annotations], "questions", figures)


def score_detection_file(results: Path, instances: Path) -> dict[str, Any]:
    """COCO's twelve metrics over all photos of an instances file, those without a detection too.

    Raises:
        ValueError: a malformed record, or a detection of an unknown photo or category; names file and record.
    """
    detections, truth = read_detection_results(results), read_ground_truth(instances)
    with _against(results, instances):
        scores = evaluate_detections(truth, detections)
    found: dict[str, Interval | float | None] = {**scores.metrics, **scores.intervals}
    figures = [_figure(name, value, len(truth["images"])) for name, value in found.items()]
    return _report(results, [instances], "photos", figures)


def markdown_table(report: Mapping[str, Any]) -> str:
    lines = [f"| {Path(report['results']).name} | {report['unit']} | points |", "|---|---|---|"]
    lines += [f"| {figure['name']} | {figure['items']} | {_cell(figure)} |" for figure in report["figures"]]
    if report.get("photos without a caption"):
        lines += ["", f"{report['photos without a caption']} photos of the references have no caption in the results."]
    return "\n".join(lines) + "\n"


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "not measured"
    return f"{figure['value']:.1f}" if figure["low"] is None else cell(figure)


def _figure(name: str, value: Interval | float | None, items: int) -> dict[str, Any]:
    interval = value._asdict() if isinstance(value, Interval) else {"value": value, "low": None, "high": None}
    return {"name": name, "items": items, **interval}


def _report(results: Path, against: Sequence[Path], unit: str, figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"results": str(results), "against": [str(path) for path in against], "unit": unit, "figures": list(figures)}


def _read_references(path: Path) -> dict[str, list[str]]:
    people: dict[str, list[str]] = defaultdict(list)
    for name, annotation in entries(path, read_section(path, "annotations"), "annotation", "id"):
        with reading(path, name):
            people[f"{SOURCE}/{annotation['image_id']}"].append(checked_text(annotation["caption"]))
    return dict(people)


def _groups(questions: Sequence[Question]) -> Iterator[tuple[str, list[int]]]:
    """Names and places of the questions of each figure."""
    yield "all", list(range(len(questions)))
    for kind in ("answer_type", "question_type"):
        groups = places_by(questions, attrgetter(kind))
        yield from ((f"{kind.replace('_', ' ')}: {name}", places) for name, places in groups.items() if name)


@contextmanager
def _against(results: Path, truth: Path) -> Iterator[None]:
    """Puts the files before what is wrong between them."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{results} against {truth}: {error}") from error
