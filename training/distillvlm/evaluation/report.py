"""Captions and answers of a model, scored against the records of their photos: every published figure comes from here.

A report is a plain dict that JSON holds; intervals are `{"value", "low", "high"}`, 95% percentile bootstrap over
photos, in points. Data sets are told apart by `Record.source`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from distillvlm.data.records import ANNOTATORS, Described, Question, Record
from distillvlm.data.sentences import distinct_sentences, function_word_endings
from distillvlm.evaluation.baselines import majority_answer, question_type_prior
from distillvlm.evaluation.bootstrap import Interval, bootstrap_difference, bootstrap_mean, bootstrap_sums
from distillvlm.evaluation.captions import bleu_of_counts, caption_scores
from distillvlm.evaluation.naming import naming_report
from distillvlm.evaluation.vqa import places_by, vqa_scores

CAPTIONS_PER_PHOTO = 5
"""Photos with fewer human captions are not scored: CIDEr-D and BLEU depend on their number."""

Answers = Mapping[str, Mapping[int, str]]
"""Data set -> question_id -> answer (a question_id is unique in its data set only)."""

DescribedT = TypeVar("DescribedT", bound=Described)


def captioned(records: Iterable[Record]) -> list[Record]:
    """The records whose captions are scored."""
    return [record for record in records if len(record.captions) >= CAPTIONS_PER_PHOTO]


def asked(records: Iterable[DescribedT]) -> list[tuple[DescribedT, Question]]:
    """The human questions on the records' photos, each with its record."""
    return [(record, question) for record in records for question in record.questions if question.is_human]


def asked_by_source(records: Iterable[Record]) -> dict[str, list[tuple[Record, Question]]]:
    """`asked` of each data set that has any."""
    return {source: pairs for source, group in by_source(records).items() if (pairs := asked(group))}


def caption_report(
    records: Sequence[Record],
    captions: Mapping[str, str],
    training: Sequence[Record],
    content_words: Container[str] | None = None,
) -> dict[str, Any]:
    """Data set -> caption metrics of its photos with five captions.

    captions: photo_id -> caption, of at least these photos.
    training: records whose captions give the idf of "CIDEr-D (training idf)".
    content_words: for what `naming_report` says; None: left out.

    Raises:
        ValueError: a photo has no caption, or `training` has no captions.
    """
    groups = by_source(captioned(records))
    idf_references = [record.captions for record in training if record.captions]
    if groups and not idf_references:
        raise ValueError("Expected training records with captions for the idf but received none")
    return {
        source: {
            **_caption_metrics(group, captions, idf_references),
            "naming": {} if content_words is None else _naming(group, captions, content_words),
        }
        for source, group in groups.items()
    }


def _caption_metrics(
    records: Sequence[Record], captions: Mapping[str, str], idf_references: Sequence[Sequence[str]]
) -> dict[str, Any]:
    of_photo = {record.photo_id: captions[record.photo_id] for record in records if record.photo_id in captions}
    scores = caption_scores(of_photo, {record.photo_id: record.captions for record in records}, idf_references)
    assert scores.cider_d_corpus_idf_of_photo is not None
    return {
        "photos": len(records),
        "CIDEr-D": _as_dict(bootstrap_mean(scores.cider_d_of_photo)),
        "CIDEr-D (training idf)": _as_dict(bootstrap_mean(scores.cider_d_corpus_idf_of_photo)),
        **{f"BLEU-{order}": score for order, score in enumerate(scores.bleu[:-1], start=1)},
        "BLEU-4": _as_dict(bootstrap_sums(scores.bleu_counts_of_photo, bleu_of_counts)),
        "METEOR": scores.meteor,
        "ROUGE-L": _as_dict(bootstrap_mean(scores.rouge_l_of_photo)),
        "SPICE": scores.spice,
        "distinct_sentences": distinct_sentences(of_photo.values()),
        "function_word_endings": function_word_endings(of_photo.values()),
    }


def _naming(
    records: Sequence[Record], captions: Mapping[str, str], content_words: Container[str]
) -> dict[str, dict[str, float]]:
    found = naming_report(records, captions, content_words)
    return {name: {"items": items, **_as_dict(share)} for name, (items, share) in found.items()}


def question_report(records: Sequence[Record], answers: Answers) -> dict[str, Any]:
    """Data set -> accuracy on its human questions, over all and by type.

    "metric" says which accuracy: the official one with ten annotators, exact match with one answer set.

    Raises:
        ValueError: a question has no answer, or a data set mixes both kinds of questions.
    """
    return {
        source: _question_metrics(source, pairs, answers.get(source, {}))
        for source, pairs in asked_by_source(records).items()
    }


def _question_metrics(
    source: str, pairs: Sequence[tuple[Record, Question]], answers: Mapping[int, str]
) -> dict[str, Any]:
    photos, questions = [record.photo_id for record, _ in pairs], [question for _, question in pairs]
    scores = vqa_scores(questions, answers)
    points = scores.points
    return {
        "metric": _metric_of(source, pairs),
        "questions": len(pairs),
        "photos": len(set(photos)),
        "accuracy": _as_dict(bootstrap_mean(points, photos)),
        "by_answer_type": {
            kind: {
                "questions": len(rows),
                "accuracy": _as_dict(bootstrap_mean([points[row] for row in rows], [photos[row] for row in rows])),
            }
            for kind, rows in places_by(questions, lambda question: question.answer_type).items()
            if kind
        },
        "by_question_type": scores.by_question_type,
    }


def _metric_of(source: str, pairs: Sequence[tuple[Record, Question]]) -> str:
    kinds = {len(question.answers) == ANNOTATORS for _, question in pairs}
    if len(kinds) > 1:
        raise ValueError(f"Expected {ANNOTATORS} answers to every question of {source} or to none")
    return "VQA" if kinds == {True} else "exact match"


def text_baselines(
    records: Sequence[Record], training: Sequence[Record], unseen: Iterable[Described] = ()
) -> dict[str, Answers]:
    """Answers that need no photo, for every human question: "majority" and "question type prior", both of the
    training questions of the same data set. unseen: further training questions, on photos that are not at hand."""
    majority: dict[str, dict[int, str]] = {}
    prior: dict[str, dict[int, str]] = {}
    questions_of: dict[str, list[Question]] = {}
    for photo, question in (*asked(training), *asked(unseen)):
        questions_of.setdefault(photo.photo_id.partition("/")[0], []).append(question)
    for source, pairs in asked_by_source(records).items():
        questions = [question for _, question in pairs]
        training_questions = questions_of.get(source, [])
        answer = majority_answer(training_questions)
        majority[source] = {question.question_id: answer for question in questions}
        prior[source] = question_type_prior(training_questions, questions)
    return {"majority": majority, "question type prior": prior}


def compare_answers(records: Sequence[Record], answers: Answers, others: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """How far `answers` are ahead of each of `others`, paired by question.

    Returns a row for each data set, which has a metric of its own, and each of `others`: {"a": "model", "b", "data",
    "metric", "difference", "low", "high", "pairs", "unit"}.

    Raises:
        ValueError: a question has no answer.
    """
    rows = []
    for source, pairs in asked_by_source(records).items():
        photos, questions = [record.photo_id for record, _ in pairs], [question for _, question in pairs]
        own = vqa_scores(questions, answers.get(source, {})).points
        for name, other in others.items():
            theirs = vqa_scores(questions, other.get(source, {})).points
            difference = bootstrap_difference(own, theirs, photos)
            rows.append(
                {
                    "a": "model",
                    "b": name,
                    "data": source,
                    "metric": _metric_of(source, pairs),
                    "difference": difference.value,
                    "low": difference.low,
                    "high": difference.high,
                    "pairs": len(pairs),
                    "unit": "photo",
                }
            )
    return rows


def evaluate(
    records: Sequence[Record],
    training: Sequence[Record],
    captions: Mapping[str, str],
    answers: Answers,
    blind_answers: Answers | None = None,
    content_words: Container[str] | None = None,
    unseen: Iterable[Described] = (),
) -> dict[str, Any]:
    """The whole report of a model on `records` (one split): captions, questions, and margins over what is blind.

    content_words: see `caption_report`. unseen: see `text_baselines`.
    """
    baselines = text_baselines(records, training, unseen)
    if blind_answers is not None:
        baselines["blind model"] = blind_answers
    return {
        "captions": caption_report(records, captions, training, content_words),
        "questions": question_report(records, answers),
        "baselines": {name: question_report(records, given) for name, given in baselines.items()},
        "comparisons": compare_answers(records, answers, baselines),
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The report's figures as Markdown tables, intervals in brackets."""
    lines = [
        "| data set | photos | CIDEr-D | CIDEr-D (training idf) | BLEU-4 | METEOR | ROUGE-L | distinct sentences |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for source, row in report["captions"].items():
        lines.append(
            f"| {source} | {row['photos']} | {cell(row['CIDEr-D'])} | {cell(row['CIDEr-D (training idf)'])} | "
            f"{cell(row['BLEU-4'])} | {row['METEOR']:.1f} | {cell(row['ROUGE-L'])} | {row['distinct_sentences']} |"
        )
    if any(row["SPICE"] is None for row in report["captions"].values()):
        lines += ["", "SPICE was not measured: Stanford CoreNLP is not installed, or it failed."]
    named = [(source, *entry) for source, row in report["captions"].items() for entry in row["naming"].items()]
    if named:
        lines += ["", "| data set | of its captions | items | share |", "|---|---|---|---|"]
        lines += [f"| {source} | {name} | {share['items']} | {cell(share)} |" for source, name, share in named]
    names = list(report["baselines"])
    lines += ["", f"| data set | metric | questions | model | {' | '.join(names)} |", "|---" * (4 + len(names)) + "|"]
    for source, row in report["questions"].items():
        others = [cell(report["baselines"][name][source]["accuracy"]) for name in names]
        lines.append(
            f"| {source} | {row['metric']} | {row['questions']} | {cell(row['accuracy'])} | {' | '.join(others)} |"
        )
    lines += _type_table(report, names)
    lines += ["", "| data set | ahead of | difference | questions |", "|---|---|---|---|"]
    for row in report["comparisons"]:
        margin = cell({"value": row["difference"], "low": row["low"], "high": row["high"]})
        lines.append(f"| {row['data']} | {row['b']} | {margin} | {row['pairs']} |")
    return "\n".join(lines) + "\n"


def _type_table(report: Mapping[str, Any], baselines: Sequence[str]) -> list[str]:
    """Accuracy by type of answer, of the data sets that have types."""
    rows = []
    for source, model in report["questions"].items():
        for kind, own in model["by_answer_type"].items():
            others = (report["baselines"][name][source]["by_answer_type"][kind] for name in baselines)
            cells = " | ".join(cell(one["accuracy"]) for one in (own, *others))
            rows.append(f"| {source} | {kind} | {own['questions']} | {cells} |")
    if not rows:
        return []
    head = f"| data set | answer type | questions | model | {' | '.join(baselines)} |"
    return ["", head, "|---" * (4 + len(baselines)) + "|", *rows]


def cell(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:.1f} [{interval['low']:.1f}, {interval['high']:.1f}]"


def _as_dict(interval: Interval) -> dict[str, float]:
    return {name: float(value) for name, value in interval._asdict().items()}


def by_source(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.source, []).append(record)
    return groups
