from dataclasses import replace
from pathlib import Path

import pytest

from distillvlm.data.records import ObjectBox, Record
from distillvlm.evaluation.naming import ObjectNames, agreed_gender, agreed_words, naming_report

CONTENT = {"dog", "ball", "runs", "red", "grass"}


def copies(records: list[Record], said: dict[str, str], times: int) -> tuple[list[Record], dict[str, str]]:
    """The same photos and captions so many times, under other ids."""
    more = [replace(record, photo_id=f"{record.photo_id}-{n}") for record in records for n in range(times)]
    return more, {record.photo_id: said[record.photo_id.rpartition("-")[0]] for record in more}


def photo(number: int, captions: tuple[str, ...], *objects: ObjectBox) -> Record:
    return Record(f"coco/{number}", Path("photo.jpg"), 100, 100, "val", "coco", captions, (), objects)


@pytest.mark.parametrize(
    ("label", "caption", "named"),
    [
        ("person", "Two women on bikes.", True),
        ("person", "a dog alone", False),
        ("dog", "a dog's life", True),
        ("hot dog", "a hot dog with mustard", True),
        ("hot dog", "a hot day for the dog", False),
        ("dining table", "plates on two tables", True),
        ("bus", "buses in a row", True),
        ("knife", "knives and forks", True),
        ("tv", "a television", True),
        ("surfboard", "a man with a surf board", True),
        ("giraffe", "tall animals", False),
        ("wombat", "two wombats", True),
        ("cat", "", False),
    ],
)
def test_an_object_is_named_by_its_class_or_another_word_for_it(label: str, caption: str, named: bool) -> None:
    assert ObjectNames().named(label, caption) is named


def test_words_that_three_people_say_once_or_twice() -> None:
    captions = ("a dog runs", "The dog, a red dog", "dogs and a ball", "a dog with a ball", "a ball, ball, ball")
    assert agreed_words(captions, CONTENT) == {"dog", "ball"}


def test_shares_are_of_photos_with_an_agreed_word_and_of_large_objects_that_people_drew() -> None:
    agreed = ("a dog runs",) * 3 + ("grass", "red")
    records = [
        photo(1, agreed, ObjectBox((0, 0, 50, 50), "dog"), ObjectBox((0, 0, 60, 50), "dog")),
        photo(2, agreed, ObjectBox((0, 0, 50, 50), "cat"), ObjectBox((0, 0, 90, 90), "bus", score=0.9)),
        photo(3, ("a", "b", "c", "d", "e"), ObjectBox((0, 0, 20, 50), "dog")),  # exactly a tenth
    ]
    said = {"coco/1": "a puppy runs", "coco/2": "red grass", "coco/3": "a dog"}
    report = naming_report(*copies(records, said, 10), CONTENT)
    assert {name: (items, share.value) for name, (items, share) in report.items()} == {
        "agreed word": (20, 50.0),
        "large objects named": (20, 50.0),
    }


def test_shares_of_a_few_are_left_out() -> None:
    record = photo(1, ("a dog runs",) * 5, ObjectBox((0, 0, 50, 50), "dog"))
    said = {"coco/1": "a puppy runs"}
    assert naming_report(*copies([record], said, 19), CONTENT) == {}
    assert set(naming_report(*copies([record], said, 20), CONTENT)) == {"agreed word", "large objects named"}


@pytest.mark.parametrize(
    ("captions", "gender"),
    [
        (("a woman runs", "A lady", "two girls", "a person", "a dog"), "women"),
        (("a man", "his bike", "boys", "a man", "people"), "men"),
        (("a man", "a boy", "people", "people", "people"), None),
        (("a man", "a man", "a man", "a man and his wife", "a woman"), None),
    ],
)
def test_a_photos_gender_is_what_three_people_say_and_nobody_contradicts(
    captions: tuple[str, ...], gender: str | None
) -> None:
    assert agreed_gender(captions) == gender


def test_photos_of_women_that_a_caption_gives_to_men_are_counted() -> None:
    woman, man = ("a woman",) * 3 + ("a cook",) * 2, ("a man",) * 5
    said = {"coco/1": "a man cooks", "coco/2": "a woman cooks", "coco/3": "a man and a woman", "coco/4": "a boy"}
    records = [photo(1, woman), photo(2, woman), photo(3, woman), photo(4, man)]
    report = naming_report(*copies(records, said, 20), CONTENT)
    assert {name: (items, round(share.value)) for name, (items, share) in report.items()} == {
        "women called women": (60, 33),
        "women called men": (60, 33),
        "men called women": (20, 0),
        "men called men": (20, 100),
    }
