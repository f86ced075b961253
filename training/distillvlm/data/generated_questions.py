"""Questions on training photos made from what people and detectors say of them, balanced so that looking pays.

Templates after COCO-QA (Ren et al. 2015, arXiv:1505.02074): colour, number, object and place; "is there a ..?" beside
them, asked of as many photos that show the thing as of photos that do not (Goyal et al. 2017, arXiv:1612.00837).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from distillvlm.data.caption_attributes import ATTRIBUTES, COLOURS, SPELLINGS, SYNONYMS
from distillvlm.data.concepts import said_words
from distillvlm.data.records import GENERATED, Question, Record, of_split
from distillvlm.data.told_tags import ToldTags

FIRST_ID = 2_000_000_000  # beyond those of every data set

SHOWN_SCORE, HIDDEN_SCORE = 0.5, 0.25  # of a box from which a thing is there, and below which it may be missing
LARGEST_SHARE = 2.0  # of a question's most frequent answer, in times that of its second
MOST_PHOTOS = 400  # with a thing, and as many without

_NUMBERS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6"}
_PEOPLE = frozenset({"person", "people", "men", "women", "children", "kids", *SYNONYMS["person"]})
_SUBJECTS = (*sorted(_PEOPLE), "dog", "cat", "bird", "horse")
_ANIMALS = frozenset({"dog", "cat", "bird", "horse", "cow", "sheep", "elephant", "bear", "zebra", "giraffe"})
_ACTIONS = ("riding", "holding", "carrying", "throwing", "catching", "wearing", "eating", "pulling", "kicking")
_PLACES = frozenset(
    (
        *("beach", "street", "field", "park", "kitchen", "bathroom", "bedroom", "forest", "snow", "water", "ocean"),
        *("river", "lake", "mountain", "sidewalk", "road", "pool", "playground", "desert", "city", "restaurant"),
        *("stadium", "yard", "woods", "hill", "rink", "track", "court", "bench", "boat"),
    )
)
_DETERMINERS = frozenset({"a", "an", "the", "his", "her", "their", "its", "some"})
_PLURAL_LABELS = frozenset({"skis", "scissors"})
_AMBIGUOUS_LABELS = frozenset({"orange"})  # captions mean the colour
_NOT_NOUNS = frozenset(
    (
        *("and", "or", "in", "on", "at", "with", "of", "to", "by", "for", "from", "is", "are", "who", "that", "while"),
        *("as", "near", "over", "it", "one", "other"),
    )
)


@dataclass(frozen=True)
class _Asked:
    text: str
    answer: str
    kind: str


def add_generated_questions(records: Sequence[Record], labels: Sequence[str], seed: int, most: int = 6) -> list[Record]:
    """The records with questions behind their own, of training photos only and up to `most` each.

    labels: classes of the boxes, which "is there a ..?" asks for.
    """
    draw = np.random.default_rng((seed, 4))
    training = of_split(records, "train")
    asked = {record.photo_id: list(_of_captions(record.captions)) for record in training}
    for photo_id, presence in _of_presence(training, labels, draw).items():
        asked[photo_id] += presence
    kept = _balanced(asked, draw)
    numbers = iter(range(FIRST_ID, FIRST_ID + sum(map(len, kept.values()))))

    def with_questions(record: Record) -> Record:
        made = _questions(kept.get(record.photo_id, ()), most, draw, numbers)
        return replace(record, questions=record.questions + tuple(made))

    return list(map(with_questions, records))


def _questions(
    asked: Sequence[_Asked], most: int, draw: np.random.Generator, numbers: Iterator[int]
) -> Iterator[Question]:
    for place in draw.permutation(len(asked))[:most]:
        one = asked[place]
        yield Question(next(numbers), one.text, (one.answer,), one.kind, GENERATED)


def _of_captions(captions: Iterable[str]) -> Iterator[_Asked]:
    """What the captions answer with one voice."""
    answers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for caption in captions:
        words = [SPELLINGS.get(word, word) for word in said_words(caption)]
        for text, answer, kind in (*_colours(words), *_counts(words), *_things(words), *_places(words)):
            answers[text, kind].add(answer)
    for (text, kind), given in sorted(answers.items()):
        if len(given) == 1:
            yield _Asked(text, next(iter(given)), kind)


def _colours(words: list[str]) -> Iterator[tuple[str, str, str]]:
    """ "a red shirt", not "a red and white shirt" and not "a white man"."""
    for place, colour in enumerate(words[:-1]):
        noun = words[place + 1]
        alone = place == 0 or words[place - 1] not in (*COLOURS, "and")
        if colour in COLOURS and alone and _is_noun(noun) and noun not in _PEOPLE:
            verb = "are" if _is_plural(noun) else "is"
            yield f"what color {verb} the {noun}?", "gray" if colour == "grey" else colour, "other"


def _counts(words: list[str]) -> Iterator[tuple[str, str, str]]:
    for place, word in enumerate(words):
        if word in _NUMBERS:
            noun = _noun_behind(words, place + 1)
            if _is_plural(noun):
                yield f"how many {noun} are there?", _NUMBERS[word], "number"


def _things(words: list[str]) -> Iterator[tuple[str, str, str]]:
    """ "a man in a hat is riding a brown horse": what is the man riding?"""
    for place, action in enumerate(words):
        if action in _ACTIONS and words[place + 1 : place + 2] and words[place + 1] in _DETERMINERS:
            subject = next((word for word in reversed(words[:place]) if word in _SUBJECTS), None)
            noun = _noun_behind(words, place + 2)
            if subject and noun:
                verb = "are" if _is_plural(subject) else "is"
                yield f"what {verb} the {subject} {action}?", noun, "other"
    animals = _ANIMALS.intersection(words)
    if len(animals) == 1:
        yield "what animal is in the picture?", next(iter(animals)), "other"


def _places(words: list[str]) -> Iterator[tuple[str, str, str]]:
    for place, word in enumerate(words[:-1]):
        if word in ("in", "on", "at", "through", "along"):
            behind = place + 2 if words[place + 1] in _DETERMINERS else place + 1
            noun = _noun_behind(words, behind)
            if noun in _PLACES:
                yield "where was this picture taken?", noun, "other"


def _noun_behind(words: list[str], place: int) -> str:
    """The first word from a place on that is no attribute; "" where a phrase ends before it."""
    while place < len(words) and words[place] in ATTRIBUTES:
        place += 1
    return words[place] if place < len(words) and _is_noun(words[place]) else ""


def _is_noun(word: str) -> bool:
    others = (_NOT_NOUNS, ATTRIBUTES, _DETERMINERS)
    return len(word) > 2 and not word.endswith("ing") and not any(word in words for words in others)


def _is_plural(noun: str) -> bool:
    return noun in ("people", "men", "women", "children") or (noun.endswith("s") and not noun.endswith("ss"))


def _of_presence(
    records: Sequence[Record], labels: Sequence[str], draw: np.random.Generator
) -> dict[str, list[_Asked]]:
    """ "Is there a cat in the picture?" of as many photos with as without, for each class."""
    told = ToldTags(labels)
    shown: dict[int, list[str]] = defaultdict(list)
    missing: dict[int, list[str]] = defaultdict(list)
    row_of = {label: row for row, label in enumerate(labels)}
    for record in records:
        scores: dict[int, float] = defaultdict(float)
        for thing in record.objects:
            scores[row_of[thing.label]] = max(scores[row_of[thing.label]], thing.score)
        said = set(told(record.captions))
        for row in range(len(labels)):
            if scores[row] >= SHOWN_SCORE or row in said:
                shown[row].append(record.photo_id)
            elif scores[row] < HIDDEN_SCORE and (record.captions or record.objects):
                missing[row].append(record.photo_id)
    asked: dict[str, list[_Asked]] = defaultdict(list)
    for row, label in enumerate(labels):
        if label in _AMBIGUOUS_LABELS:
            continue
        number = min(len(shown[row]), len(missing[row]), MOST_PHOTOS)
        for answer, photos in (("yes", shown[row]), ("no", missing[row])):
            for place in draw.permutation(len(photos))[:number]:
                asked[photos[place]].append(_Asked(f"{_is_there(label)} in the picture?", answer, "yes/no"))
    return asked


def _is_there(label: str) -> str:
    if label in _PLURAL_LABELS:
        return f"are there {label}"
    return f"is there {'an' if label[0] in 'aeiou' else 'a'} {label}"


def _balanced(asked: dict[str, list[_Asked]], draw: np.random.Generator) -> dict[str, list[_Asked]]:
    """No answer of a question more than `LARGEST_SHARE` times as often as its second; questions with one answer only
    tell nothing and go."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in (one for several in asked.values() for one in several):
        counts[one.text][one.answer] += 1
    keep = {
        (text, answer): min(1.0, LARGEST_SHARE * sorted(answers.values())[-2] / count)
        for text, answers in counts.items()
        if len(answers) > 1
        for answer, count in answers.items()
    }
    return {
        photo_id: [one for one in several if draw.random() < keep.get((one.text, one.answer), 0.0)]
        for photo_id, several in asked.items()
    }
