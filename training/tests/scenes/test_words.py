"""Layout, captions and questions, over several hundred scenes of both difficulties."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from distillvlm.data.records import Question
from distillvlm.data.scenes.captions import make_captions
from distillvlm.data.scenes.difficulty import SMOKE, STUDY, Difficulty
from distillvlm.data.scenes.layout import Scene, Thing, is_held_out, make_scene, opposite, relation
from distillvlm.data.scenes.lexicon import CATEGORIES, SYNONYMS, plural, words_for
from distillvlm.data.scenes.questions import make_questions, reference_to
from distillvlm.data.scenes.words import Annotator, listed, with_article

SCENES = 400
DIFFICULTIES = [SMOKE, STUDY]


@pytest.fixture(scope="module", params=DIFFICULTIES, ids=lambda difficulty: difficulty.name)
def difficulty(request: pytest.FixtureRequest) -> Difficulty:
    return request.param


@pytest.fixture(scope="module")
def scenes(difficulty: Difficulty) -> list[Scene]:
    return [make_scene(11, "train", number, difficulty) for number in range(SCENES)]


@pytest.fixture(scope="module")
def questions(difficulty: Difficulty, scenes: list[Scene]) -> list[Question]:
    return [one for scene in scenes for one in make_questions(scene, "train", difficulty, 0)]


def at(x: float, y: float, category: str = "ball", colour: str = "red", pattern: str = "plain") -> Thing:
    return Thing(category, colour, "big", pattern, (x - 0.1, y - 0.1, x + 0.1, y + 0.1), False)


def covered(scene: Scene) -> list[float]:
    """Of each thing's box, the share that others' boxes cover: counted on a raster."""
    centres = (np.arange(200) + 0.5) / 200

    def raster(thing: Thing) -> NDArray[np.bool_]:
        left, top, right, bottom = thing.box
        across, down = (centres >= left) & (centres < right), (centres >= top) & (centres < bottom)
        return down[:, None] & across[None, :]

    masks = np.stack([raster(thing) for thing in scene.things])
    return [float((mask & (masks.sum(axis=0) > 1)).sum() / mask.sum()) for mask in masks]


def test_things_lie_within_the_picture_and_stay_visible(difficulty: Difficulty, scenes: list[Scene]) -> None:
    numbers = Counter(len(scene.things) for scene in scenes)
    assert set(numbers) <= set(range(1, max(difficulty.things) + 1))
    for scene in scenes:
        for thing in scene.things:
            assert min(thing.box) >= 0
            assert max(thing.box) <= 1
        assert max(covered(scene)) <= difficulty.max_covered + 0.02  # of a raster's rounding


def test_held_out_compositions_are_in_every_test_scene_and_in_no_other(difficulty: Difficulty) -> None:
    def held_out(scene: Scene) -> list[bool]:
        return [is_held_out(thing.category, thing.colour, difficulty) for thing in scene.things]

    for number in range(SCENES):
        assert any(held_out(make_scene(11, "test", number, difficulty)))
        assert not any(held_out(make_scene(11, "train", number, difficulty)))
        assert not any(held_out(make_scene(11, "val", number, difficulty)))


def test_each_category_has_one_held_out_colour_and_all_colours_are_trained(difficulty: Difficulty) -> None:
    for category in difficulty.categories:
        assert sum(is_held_out(category, colour, difficulty) for colour in difficulty.colours) == 1
    for colour in difficulty.colours:
        assert not all(is_held_out(category, colour, difficulty) for category in difficulty.categories)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (at(0.2, 0.5), at(0.7, 0.6), "left of"),
        (at(0.7, 0.5), at(0.2, 0.6), "right of"),
        (at(0.5, 0.2), at(0.6, 0.8), "above"),
        (at(0.5, 0.8), at(0.6, 0.2), "below"),
        (at(0.5, 0.6), at(0.6, 0.5), "in front of"),
        (at(0.6, 0.5), at(0.5, 0.6), "behind"),
        (Thing("ball", "red", "small", "plain", (0.4, 0.4, 0.45, 0.45), False),
         Thing("cup", "red", "small", "plain", (0.5, 0.4, 0.55, 0.45), False), "next to"),
    ],
)  # fmt: skip
def test_relations_are_what_a_picture_shows(one: Thing, other: Thing, expected: str) -> None:
    assert relation(one, other) == expected
    assert relation(other, one) == opposite(expected)


def test_captions_are_five_and_different(difficulty: Difficulty, scenes: list[Scene]) -> None:
    for scene in scenes:
        captions = make_captions(scene, difficulty)
        assert len(captions) == len(set(captions)) == 5
        assert all(re.fullmatch(r"[a-z]+( [a-z]+|, [a-z]+)+", caption) for caption in captions)


def test_smoke_captions_name_every_thing_with_its_colour() -> None:
    for number in range(100):
        scene = make_scene(5, "train", number, SMOKE)
        for caption in make_captions(scene, SMOKE):
            for thing in scene.things:
                assert re.search(rf"{thing.colour} ({thing.category}|{plural(thing.category)})\b", caption)


def test_study_captions_use_synonyms_leave_things_out_and_disagree() -> None:
    captioned = [
        (scene, make_captions(scene, STUDY)) for scene in (make_scene(5, "train", n, STUDY) for n in range(100))
    ]
    text = " ".join(caption for _, captions in captioned for caption in captions)
    assert {"crimson", "mug", "huge", "spotted"} <= set(text.split())
    left_out = slips = 0
    for scene, captions in captioned:
        colours = {word for thing in scene.things for word in words_for(thing.colour)}
        unseen = {word for colour in STUDY.colours for word in words_for(colour)} - colours
        for caption in captions:
            words = set(caption.split())
            left_out += not all(set(words_for(thing.colour)) & words for thing in scene.things)
            slips += bool(unseen & words)
    assert left_out > 100
    assert 5 < slips < 100


def test_salient_things_are_mentioned_more_often() -> None:
    large = replace(at(0.5, 0.6, "car"), box=(0.3, 0.4, 0.7, 0.8))
    small = [replace(at(x, 0.9, "cup"), box=(x - 0.04, 0.86, x + 0.04, 0.94)) for x in (0.1, 0.5, 0.9)]
    agreed = replace(STUDY, synonyms=1, disagreement=0.0)
    captions = [
        caption
        for number in range(60)
        for caption in make_captions(Scene(f"salience {number}", "grass", (*small, large), 0.0), agreed)
    ]
    with_car = sum("car" in caption.split() for caption in captions)
    with_cups = sum(bool({"cup", "cups"} & set(caption.split())) for caption in captions)
    assert with_cups < with_car < len(captions)


def test_things_described_alike_are_counted_in_words() -> None:
    annotator = Annotator(Random(1), SMOKE)
    things = [at(0.2, 0.6), at(0.5, 0.6), at(0.8, 0.6, "umbrella", "orange", "striped")]
    assert annotator.phrases(things, sizes=False) == "two red balls and a striped orange umbrella"
    assert annotator.phrases(things[2:], sizes=True) == "a big striped orange umbrella"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert with_article("orange cup") == "an orange cup"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("box", "boxes"),
        ("bus", "buses"),
        ("butterfly", "butterflies"),
        ("cup", "cups"),
        ("fish", "fish"),
        ("torch", "torches"),
        ("toy", "toys"),
    ],
)
def test_plurals(name: str, expected: str) -> None:
    assert plural(name) == expected


def test_every_notion_of_the_study_has_three_words() -> None:
    notions = [*CATEGORIES, *SYNONYMS]
    assert all(len(set(words_for(notion))) == 3 for notion in notions)
    assert {*STUDY.colours, "big", "small", "striped", "dotted", "checkered"} <= set(SYNONYMS)


def test_a_reference_means_one_thing_only() -> None:
    balls = [at(0.2, 0.6), at(0.5, 0.6, colour="blue"), at(0.8, 0.6, colour="blue", pattern="striped")]
    cup = at(0.5, 0.9, "cup")
    assert reference_to(cup, [*balls, cup]) == "the cup"
    assert reference_to(balls[0], balls) == "the red ball"
    assert reference_to(balls[2], balls) == "the striped blue ball"
    assert reference_to(balls[1], balls) is None  # "the blue ball" would mean either


def majority(question: Question) -> str:
    return Counter(question.answers).most_common(1)[0][0]


def test_no_answer_can_be_guessed_and_yes_is_as_frequent_as_no(questions: list[Question]) -> None:
    by_type: dict[str, Counter[str]] = defaultdict(Counter)
    for question in questions:
        by_type[question.question_type][majority(question)] += 1
    assert set(by_type) == {"what", "what color", "how many", "where", "yes/no"}
    for question_type, answers in by_type.items():
        share = answers.most_common(1)[0][1] / answers.total()
        # most smoke scenes hold one thing, which a count tells
        assert share <= {"yes/no": 0.55, "how many": 0.6}.get(question_type, 0.42)
        assert answers.total() > SCENES * 0.7


def test_questions_have_ten_answers_and_the_types_of_vqa(questions: list[Question]) -> None:
    types = {"yes/no": "yes/no", "how many": "number"}
    for question in questions:
        assert len(question.answers) == 10
        assert question.answer_type == types.get(question.question_type, "other")
        assert question.text.endswith("?")


def test_smoke_annotators_agree_and_those_of_the_study_do_not(
    difficulty: Difficulty, questions: list[Question]
) -> None:
    split = sum(len(set(question.answers)) > 1 for question in questions) / len(questions)
    assert split == 0 if difficulty is SMOKE else split > 0.5


def test_smoke_answers_are_true() -> None:
    """Checked from the scene anew, by rules that do not share the code that asks."""
    checked = 0
    for number in range(200):
        scene = make_scene(21, "test", number, SMOKE)
        for question in make_questions(scene, "test", SMOKE, 0):
            expected = answer_from_scene(scene, question.text)
            if expected is not None:
                assert question.answers == (expected,) * 10, (scene.things, question.text)
                checked += 1
    assert checked > 1000


def answer_from_scene(scene: Scene, text: str) -> str | None:
    if match := re.fullmatch(r"what color is the (\w+)\?", text):
        return next(one.colour for one in scene.things if one.category == match[1])
    if match := re.fullmatch(r"how many things are (\w+)\?", text):
        if match[1] == "there":
            return str(len(scene.things))
        return str(sum(one.colour == match[1] for one in scene.things))
    if match := re.fullmatch(r"how many (\w+) are there\?", text):
        return str(sum(plural(one.category) == match[1] for one in scene.things))
    if match := re.fullmatch(r"is there an? (\w+) (\w+)\?", text):
        return "yes" if any((one.colour, one.category) == match.groups() for one in scene.things) else "no"
    if match := re.fullmatch(r"is the (\w+) (left|right) of the (\w+)\?", text):
        one, other = (next(thing for thing in scene.things if thing.category == match[n]) for n in (1, 3))
        return "yes" if (one.centre[0] < other.centre[0]) == (match[2] == "left") else "no"
    if match := re.fullmatch(r"what is (\w+)\?", text):
        return next(one.category for one in scene.things if match[1] in (one.colour, one.pattern))
    if re.fullmatch(r"where is the [\w ]+(?<!relative to the \w)\?", text) and "relative" not in text:
        return scene.background
    return None
