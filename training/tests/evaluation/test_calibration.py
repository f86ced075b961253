import numpy as np
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from distillvlm.evaluation.calibration import Reliability, apply_out_of_fold, fit_calibration
from distillvlm.structures.calibration import Calibration


def drawn(count: int, truth: Calibration) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    scores = random.uniform(0.02, 0.98, count)
    return scores, (random.random(count) < [truth.apply(score) for score in scores]).astype(float)


def test_a_fit_is_the_logistic_regression_of_scikit_learn_on_log_odds() -> None:
    scores, right = drawn(800, Calibration(2.0, -0.5))
    expected = LogisticRegression(C=np.inf, tol=1e-8).fit(logit(scores)[:, None], right)
    found = fit_calibration(scores, right)
    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=1e-3)
    assert found.intercept == pytest.approx(expected.intercept_[0], rel=1e-3, abs=1e-3)


def test_parts_of_a_truth_are_fitted_as_parts() -> None:
    truth = Calibration(0.7, 1.2)
    scores = np.linspace(0.01, 0.99, 99)
    found = fit_calibration(scores, [truth.apply(score) for score in scores])
    assert (found.slope, found.intercept) == (pytest.approx(0.7, abs=1e-3), pytest.approx(1.2, abs=1e-3))


def test_scores_of_0_and_1_are_fitted_and_stay_what_they_are() -> None:
    found = fit_calibration([0.0, 0.2, 0.8, 1.0], [0, 1, 0, 1])
    assert (found.apply(0.0), found.apply(1.0)) == (0.0, 1.0)


def test_scores_that_are_highest_where_all_is_wrong_are_refused() -> None:
    with pytest.raises(ValueError, match="do not grow with what is right"):
        fit_calibration([0.1, 0.4, 0.6, 0.9], [1, 1, 0, 0.5])


def test_one_calibration_after_another() -> None:
    first, second = Calibration(2.0, -0.5), Calibration(0.4, 0.3)
    assert second.after(first).apply(0.3) == pytest.approx(second.apply(first.apply(0.3)))


def test_no_score_is_calibrated_by_its_own_photo() -> None:
    scores, right = drawn(100, Calibration(2.0, -0.5))
    photos = [f"photo{number // 2}" for number in range(100)]
    found = apply_out_of_fold(scores, right, photos)
    changed = right.copy()
    changed[:2] = 1 - changed[:2]  # of the first photo
    other = apply_out_of_fold(scores, changed, photos)
    same = [number for number in range(100) if number // 2 % 5 == 0]
    np.testing.assert_array_equal(found[same], other[same])
    assert (found != other).sum() == 80


def test_the_error_is_the_mean_distance_of_bins_from_what_they_say() -> None:
    scores = np.repeat([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95], 10)
    right = np.tile([1.0] * 5 + [0.0] * 5, 10)
    assert Reliability.of(scores, right).error == pytest.approx(25.0)
    assert Reliability.of(np.full(7, 0.3), np.full(7, 0.3)).error == pytest.approx(0.0)
