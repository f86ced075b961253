"""VQA accuracy as the official evaluation computes it, and the training targets that follow from it.

Source: Antol et al. 2015, arXiv:1505.00468, section 3, and the rules of https://visualqa.org/evaluation.html
(VQA v2's `vqaEval.py`, whose answers this module reproduces, its slips of punctuation included).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from distillvlm.data.records import ANNOTATORS, Question

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGIT_OF_WORD = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)} | {"none": "0"}

_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
# The official table also maps this one the wrong way round; scores of published models depend on it.
_CONTRACTION_OF_TYPO = {"somebody'd": "somebodyd"} | {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTIONS.split()
    for place, character in enumerate(word)
    if character == "'"
}

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD_OUTSIDE_DECIMALS = re.compile(r"\.(?!\d)")
_COMMA_BETWEEN_DIGITS = re.compile(r"\d,\d")


@lru_cache(maxsize=1 << 17)
def normalize_answer(answer: str) -> str:
    """The official normal form: lower case, no articles, digits for number words, apostrophes in contractions,
    no punctuation but apostrophes, colons and decimal points."""
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    has_thousands_separator = _COMMA_BETWEEN_DIGITS.search(text) is not None
    spaced = text
    for mark in _PUNCTUATION:
        at_a_space = f"{mark} " in text or f" {mark}" in text
        spaced = spaced.replace(mark, "" if at_a_space or has_thousands_separator else " ")
    words = [_DIGIT_OF_WORD.get(word, word) for word in _PERIOD_OUTSIDE_DECIMALS.sub("", spaced).lower().split()]
    return " ".join(_CONTRACTION_OF_TYPO.get(word, word) for word in words if word not in _ARTICLES)


def normalize_answer_set(answers: Iterable[str]) -> str:
    """One string for a set of answers whatever their order: "book, lamp". Its members are in the normal form."""
    return ", ".join(sorted({normalize_answer(answer) for answer in answers}))


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Mean over the leave-one-out sets of annotators of min(1, annotators who gave the prediction / 3); 0-1.

    Like the official script, compares unanimous answers as they stand and normalises both sides otherwise.
    """
    cleaned = [answer.replace("\n", " ").replace("\t", " ").strip() for answer in answers]
    predicted = prediction.replace("\n", " ").replace("\t", " ").strip()
    if len(set(cleaned)) > 1:
        cleaned = [normalize_answer(answer) for answer in cleaned]
        predicted = normalize_answer(predicted)
    matches = cleaned.count(predicted)
    others = len(cleaned) - matches
    return (matches * min(1.0, (matches - 1) / 3) + others * min(1.0, matches / 3)) / len(cleaned)


def exact_match(prediction: str, answers: Iterable[str]) -> float:
    """1 if the prediction, split at commas, is the set of answers in the normal form; else 0."""
    return float(normalize_answer_set(prediction.split(",")) == normalize_answer_set(answers))


def answer_score(prediction: str, question: Question) -> float:
    """The score of an answer, 0-1: official accuracy with ten annotators, else exact match (DAQUAR, COCO-QA)."""
    if len(question.answers) == ANNOTATORS:
        return vqa_accuracy(prediction, question.answers)
    return exact_match(prediction, question.answers)


def soft_targets(question: Question) -> dict[str, float]:
    """Training targets: normal form of an answer -> min(1, annotators who gave it / 3); of one answer set, 1.

    Source: Teney et al. 2017, arXiv:1708.02711 (soft scores as targets), as in OSCAR, arXiv:2004.06165.
    """
    if len(question.answers) != ANNOTATORS:
        answer_set = normalize_answer_set(question.answers)
        return {answer_set: 1.0} if answer_set else {}
    counts = Counter(map(normalize_answer, question.answers))
    return {answer: min(1.0, count / 3) for answer, count in counts.items() if answer}


def build_answer_vocabulary(questions: Iterable[Question], min_count: int) -> list[str]:
    """Answers that are the most frequent one of at least `min_count` questions, commonest first, in normal form.

    Source: the bottom-up attention VQA baseline, whose 3,129 answers OSCAR uses: `min_count` 9 on VQA v2's training and
    validation questions. The published list counts the empty string, all that the normal form leaves of "a" or "the";
    it answers nothing and is left out here, so 3,128 remain (as in ALBEF, https://github.com/salesforce/ALBEF/issues/40).
    """
    counts = Counter(_most_frequent_answer(question) for question in questions)
    del counts[""]
    return sorted((answer for answer in counts if counts[answer] >= min_count), key=lambda a: (-counts[a], a))


def _most_frequent_answer(question: Question) -> str:
    if question.majority:
        return normalize_answer(question.majority)
    if len(question.answers) != ANNOTATORS:
        return normalize_answer_set(question.answers)
    return Counter(map(normalize_answer, question.answers)).most_common(1)[0][0]


@dataclass(frozen=True)
class VqaScores:
    """Scores in points (0-100); `of_question` holds 0-1 for each question in the order given."""

    accuracy: float
    by_answer_type: dict[str, float]
    by_question_type: dict[str, float]
    of_question: list[float]

    @property
    def points(self) -> list[float]:
        """`of_question` in points."""
        return [100 * score for score in self.of_question]


def vqa_scores(questions: Sequence[Question], answers: Mapping[int, str]) -> VqaScores:
    """Scores `answers` (question_id -> answer) on questions of one data set.

    Raises:
        ValueError: there are no questions, or one has no answer.
    """
    if not questions:
        raise ValueError("Expected at least one question to score but received none")
    missing = [question.question_id for question in questions if question.question_id not in answers]
    if missing:
        raise ValueError(f"Expected an answer to every question but {len(missing)} have none, first: {missing[0]}")
    scores = [answer_score(answers[question.question_id], question) for question in questions]
    return VqaScores(
        accuracy=100 * sum(scores) / len(scores),
        by_answer_type=_mean_by(questions, scores, lambda question: question.answer_type),
        by_question_type=_mean_by(questions, scores, lambda question: question.question_type),
        of_question=scores,
    )


def _mean_by(
    questions: Sequence[Question], scores: Sequence[float], key: Callable[[Question], str]
) -> dict[str, float]:
    return {
        name: 100 * sum(scores[place] for place in places) / len(places)
        for name, places in places_by(questions, key).items()
    }


def places_by(questions: Sequence[Question], key: Callable[[Question], str]) -> dict[str, list[int]]:
    """Where the questions of each kind stand, by the kind's name."""
    places: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        places.setdefault(key(question), []).append(place)
    return dict(sorted(places.items()))
