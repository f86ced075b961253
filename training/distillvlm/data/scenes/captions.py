"""Five differently worded captions of a scene, as five people would write them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random

from distillvlm.data.scenes.difficulty import Difficulty
from distillvlm.data.scenes.layout import Scene, Thing, relation
from distillvlm.data.scenes.lexicon import BACKGROUNDS
from distillvlm.data.scenes.words import Annotator

NUM_CAPTIONS = 5
_TRIES = 20

# (annotator, what is mentioned, whether sizes are, the place or "") -> sentence
Sentence = Callable[[Annotator, list[Thing], bool, str], str]


def make_captions(
    scene: Scene, difficulty: Difficulty, count: int = NUM_CAPTIONS, people: str = "caption"
) -> tuple[str, ...]:
    """No two are alike; fewer than `count` where the difficulty has no more to say of the scene.

    people: who speaks; other people see, choose and word things otherwise.
    """
    random = scene.random(f"{people}s")
    manners = list(product(difficulty.sentences, (True, False), (True, False)))
    random.shuffle(manners)
    captions: list[str] = []
    for manner in range(_TRIES * count // NUM_CAPTIONS):
        name, sizes, with_place = manners[manner % len(manners)]
        annotator = Annotator(scene.random(f"{people} {manner}"), difficulty)
        mentioned = list(scene.things) if difficulty.mentions_all else salient_things(scene, annotator.random)
        place = annotator.word(BACKGROUNDS[scene.background]) if with_place else ""
        things = [annotator.seen(thing) for thing in mentioned]
        caption = SENTENCES[name](annotator, things, sizes, place)
        if caption not in captions:
            captions.append(caption)
        if len(captions) == count:
            break
    return tuple(captions)


def salient_things(scene: Scene, random: Random) -> list[Thing]:
    """One to four things, the more salient the likelier, in the order of the scene."""
    wanted = min(len(scene.things), random.choice((1, 2, 2, 3, 3, 4)))
    left = list(scene.things)
    drawn: list[Thing] = []
    for _ in range(wanted):
        (thing,) = random.choices(left, [one.salience for one in left])
        left.remove(thing)
        drawn.append(thing)
    return [thing for thing in scene.things if thing in drawn]


def _list(annotator: Annotator, things: list[Thing], sizes: bool, place: str) -> str:
    return f"{annotator.phrases(things, sizes)} {place}".strip()


def _there_is(annotator: Annotator, things: list[Thing], sizes: bool, place: str) -> str:
    listed = annotator.phrases(things, sizes)
    verb = "is" if listed.startswith(("a ", "an ")) else "are"
    return f"there {verb} {listed} {place}".strip()


def _relation(annotator: Annotator, things: list[Thing], sizes: bool, place: str) -> str:
    """The first two that stand clearly to each other; then the others."""
    if len(things) == 1:
        return _there_is(annotator, things, sizes, place)
    pairs = [(one, other) for one in things for other in things if one is not other]
    one, other = next((pair for pair in pairs if relation(*pair) != "next to"), pairs[0])
    said = annotator.word(relation(one, other))
    sentence = f"{annotator.phrase([one], sizes)} {said} {annotator.phrase([other], sizes)}"
    others = [thing for thing in things if thing is not one and thing is not other]
    rest = f" with {annotator.phrases(others, sizes)}" if others else ""
    return f"{sentence}{rest} {place}".strip()


def _place_first(annotator: Annotator, things: list[Thing], sizes: bool, place: str) -> str:
    if not place:
        return _there_is(annotator, things, sizes, place)
    return f"{place} {_there_is(annotator, things, sizes, '')}"


def _picture_of(annotator: Annotator, things: list[Thing], sizes: bool, place: str) -> str:
    kind = annotator.random.choice(("a picture of", "a drawing of", "an image with"))
    return f"{kind} {annotator.phrases(things, sizes)} {place}".strip()


def _is_seen(annotator: Annotator, things: list[Thing], sizes: bool, place: str) -> str:
    if not place:
        return _there_is(annotator, things, sizes, place)
    verb = annotator.random.choice(("is", "is seen", "can be found"))
    first = f"{annotator.phrase(things[:1], sizes)} {verb} {place}"
    return f"{first} with {annotator.phrases(things[1:], sizes)}" if len(things) > 1 else first


SENTENCES: dict[str, Sentence] = {
    "list": _list,
    "there is": _there_is,
    "relation": _relation,
    "place first": _place_first,
    "picture of": _picture_of,
    "is seen": _is_seen,
}
