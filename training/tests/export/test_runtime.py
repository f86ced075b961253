import numpy as np
import pytest
import torch

from distillvlm.export.fixture import FIXTURE, noise_pictures
from distillvlm.export.runtime import BundlePredictor, EncodedPhotos


@pytest.fixture(scope="module")
def predictor() -> BundlePredictor:
    return BundlePredictor(FIXTURE)


@pytest.fixture(scope="module")
def photos(predictor: BundlePredictor) -> EncodedPhotos:
    torch.manual_seed(0)
    return predictor.encode(noise_pictures(3).numpy())


def test_captions_are_scored_as_the_manifest_says(predictor: BundlePredictor, photos: EncodedPhotos) -> None:
    captions = predictor.captions(photos, num_beams=3, num_captions=3)
    assert [len(of_photo) for of_photo in captions] == [3, 3, 3]
    for caption in captions[0]:
        probabilities = np.exp(caption.log_probabilities)
        mean = probabilities.prod() ** (1 / len(caption.tokens))
        odds = (mean / (1 - mean)) ** 1.5 * np.exp(0.25)  # the calibration of `fixture_facts`
        assert caption.score == pytest.approx(odds / (1 + odds))
        assert caption.log_probability == pytest.approx(np.log(probabilities).sum())
    ranks = [caption.log_probability / len(caption.tokens) ** 0.9 for caption in captions[0]]
    assert ranks == sorted(ranks, reverse=True)


def test_defaults_are_the_manifests(predictor: BundlePredictor, photos: EncodedPhotos) -> None:
    default = predictor.captions(photos)
    explicit = predictor.captions(photos, num_beams=5, num_captions=1, max_tokens=20)
    assert [[c.tokens for c in of_photo] for of_photo in default] == [[c.tokens for c in p] for p in explicit]
    assert len(predictor.answers(photos, [["what?"], [], []])[0][0]) == 5


def test_answers_come_photo_by_photo_and_best_first(predictor: BundlePredictor, photos: EncodedPhotos) -> None:
    questions = [["what is this?", "is it red?"], [], ["how many?"]]
    answers = predictor.answers(photos, questions, top_k=8)
    assert [len(of_photo) for of_photo in answers] == [2, 0, 1]
    scores = [answer.score for answer in answers[0][0]]
    assert scores == sorted(scores, reverse=True)
    logits = predictor.answer_logits(photos, questions)
    assert scores[0] == pytest.approx(1 / (1 + np.exp(0.5 - 0.75 * logits[0].max())))
    assert answers[2][0][0].answer == predictor.answer_words[logits[2].argmax()]


def test_no_questions_are_no_answers(predictor: BundlePredictor, photos: EncodedPhotos) -> None:
    assert predictor.answers(photos, [[], [], []]) == [[], [], []]


def test_a_question_at_the_limit_is_answered_and_one_beyond_refused(
    predictor: BundlePredictor, photos: EncodedPhotos
) -> None:
    limit = predictor.manifest["limits"]["question_tokens"]
    assert limit >= 66, "64 tokens are promised beside [CLS] and [SEP]"
    longest = "dog " * (limit - 2)
    assert len(predictor.answers(photos, [[longest], [], []])[0]) == 1
    with pytest.raises(ValueError, match=f"at most {limit} tokens but received {limit + 1}"):
        predictor.question_ids(longest + "dog")
