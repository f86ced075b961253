import numpy as np
import pytest

from distillvlm.data.records import Question
from distillvlm.evaluation.baselines import majority_answer, nearest_neighbour_captions, question_type_prior


def question(question_id: int, text: str, *answers: str, question_type: str = "") -> Question:
    return Question(question_id, text, answers, question_type=question_type)


def test_majority_answer_is_the_one_with_the_highest_summed_target() -> None:
    # "no" is first choice of two questions (targets 1 + 1), "yes" of one but second everywhere (1 + 1 + 1).
    training = [
        question(1, "is it?", *["no"] * 7, *["yes"] * 3),
        question(2, "is it?", *["no"] * 7, *["yes"] * 3),
        question(3, "is it?", *["Yes"] * 10),
    ]
    assert majority_answer(training) == "yes"


def test_question_type_prior_answers_by_type_and_falls_back_for_a_new_one() -> None:
    training = [
        question(1, "How many dogs?", "two"),
        question(2, "What is on the table?", "lamp"),
        question(3, "what is left?", "lamp"),
        question(4, "Is there a cat?", "yes", question_type="is there"),
    ]
    asked = [
        question(11, "how many chairs?", "5"),
        question(12, "what is it", "x"),
        question(13, "Is there a way?", "no", question_type="is there"),
        question(14, "Where are they?", "y"),
    ]
    assert question_type_prior(training, asked) == {11: "2", 12: "lamp", 13: "yes", 14: "lamp"}


def test_priors_without_training_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="training questions with answers"):
        majority_answer([question(1, "what?", "the")])


def test_nearest_neighbour_is_by_angle_not_by_length() -> None:
    training = np.array([[1.0, 0.0], [0.0, 100.0], [-1.0, -1.0]])
    captions = [["east", "e"], ["north"], ["south-west"]]
    queries = np.array([[50.0, 1.0], [0.1, 1.0], [-3.0, -2.0]])
    assert nearest_neighbour_captions(queries, training, captions) == ["east", "north", "south-west"]
    assert nearest_neighbour_captions(np.empty((0, 2)), training, captions) == []


def test_nearest_neighbour_refuses_unequal_shapes() -> None:
    with pytest.raises(ValueError, match="captions of 2 training photos but received 1"):
        nearest_neighbour_captions(np.ones((1, 3)), np.ones((2, 3)), [["a"]])
    with pytest.raises(ValueError, match="size 3 but received 4"):
        nearest_neighbour_captions(np.ones((1, 4)), np.ones((1, 3)), [["a"]])
