"""Questions made from captions and boxes: what is asked and answered, and how yes and no are balanced."""

from collections import Counter
from pathlib import Path

from distillvlm.data.generated_questions import LARGEST_SHARE, add_generated_questions
from distillvlm.data.records import GENERATED, ObjectBox, Question, Record, Split

LABELS = ("cat", "dog", "skis")


def photo(number: int, *captions: str, boxes: tuple[tuple[str, float], ...] = (), split: Split = "train") -> Record:
    objects = tuple(ObjectBox((0, 0, 1, 1), label, score=score) for label, score in boxes)
    return Record(f"test/{number}", Path("none.jpg"), 8, 8, split, "test", captions, (), objects)


def asked_of(records: list[Record], most: int = 100) -> dict[str, dict[str, str]]:
    made = add_generated_questions(records, LABELS, seed=1, most=most)
    return {record.photo_id: {question.text: question.answers[0] for question in record.questions} for record in made}


def test_captions_are_asked_for_what_they_say() -> None:
    """Twice with other answers, since a question with one answer tells nothing."""
    first = photo(1, "Two dogs in a big park.", "A man in a hat is riding a brown horse near a gray car")
    second = photo(2, "three dogs on the beach", "the man is riding a bike behind a red car", "a man throwing a ball")
    asked = asked_of([first, second])
    assert asked["test/1"] == {
        "how many dogs are there?": "2",
        "where was this picture taken?": "park",
        "what is the man riding?": "horse",
        "what color is the car?": "gray",
    }
    assert asked["test/2"] == {
        "how many dogs are there?": "3",
        "where was this picture taken?": "beach",
        "what is the man riding?": "bike",
        "what color is the car?": "red",
    }


def test_captions_that_disagree_are_not_asked() -> None:
    torn = photo(1, "two dogs", "three dogs", "a red car", "a red and white car", "a white man")
    other = photo(2, "four dogs", "a blue car", "a black man")
    assert asked_of([torn, other]) == {
        "test/1": {"what color is the car?": "red"},
        "test/2": {"what color is the car?": "blue"},
    }


def test_as_many_photos_have_a_thing_as_have_it_not() -> None:
    dogs = [photo(number, boxes=(("dog", 0.9),)) for number in range(4)]
    unsure = [photo(number, boxes=(("dog", 0.4),)) for number in range(4, 8)]
    told = [photo(number, "a puppy sleeps") for number in range(8, 10)]
    others = [photo(number, boxes=(("cat", 0.8),)) for number in range(10, 20)]
    asked = asked_of([*dogs, *unsure, *told, *others])
    answers = {photo_id: texts.get("is there a dog in the picture?") for photo_id, texts in asked.items()}
    assert Counter(answers.values())["yes"] == Counter(answers.values())["no"] == 6
    assert all(answers[f"test/{number}"] is None for number in range(4, 8))
    assert not any("skis" in text for texts in asked.values() for text in texts)


def test_a_frequent_answer_is_thinned_out() -> None:
    records = [photo(number, f"a {'red' if number < 300 else 'blue'} car") for number in range(320)]
    answers = Counter(answer for texts in asked_of(records).values() for answer in texts.values())
    assert answers["blue"] == 20
    assert 20 <= answers["red"] <= LARGEST_SHARE * 20 * 1.5


def test_people_keep_their_questions_and_held_out_photos_get_none() -> None:
    own = Question(7, "why?", ("because",))
    train = photo(1, "a red car", "two dogs", "a man in the park", "a man riding a horse")
    train = Record(**{**vars(train), "questions": (own,)})
    held_out = photo(2, "a blue car", "three dogs", "a man on the beach", "a man riding a bike", split="val")
    third = photo(3, "a green car", "four dogs", "a man in the snow", "a man riding a cow")
    made = add_generated_questions([train, held_out, third], LABELS, seed=1, most=2)
    assert made[1] == held_out
    assert made[0].questions[0] == own
    assert len(made[0].questions) == 3
    assert {question.question_type for question in made[0].questions[1:]} == {GENERATED}
    ids = [question.question_id for record in made for question in record.questions]
    assert len(set(ids)) == len(ids)
    assert made == add_generated_questions([train, held_out, third], LABELS, seed=1, most=2)
