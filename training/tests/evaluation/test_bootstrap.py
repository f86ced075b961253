import numpy as np
import pytest

from distillvlm.evaluation.bootstrap import bootstrap_difference, bootstrap_mean, bootstrap_sums


def test_interval_of_a_mean_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(10, 2, size=400)
    interval = bootstrap_mean(values)
    half_width = 1.96 * values.std() / np.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    # 10,000 resamples place a 2.5% quantile within about 2% of the half-width; 5% leaves room for skew.
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.05 * half_width)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.05 * half_width)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(2)
    samples = [generator.exponential(1.0, size=60) for _ in range(150)]
    covered = sum(low <= 1.0 <= high for _, low, high in (bootstrap_mean(sample, seed=3) for sample in samples))
    # 95% of 150 is 142; a binomial with p = 0.95 leaves 133-149 in fewer than 1% of cases, skew costs a few more.
    assert 131 <= covered <= 149


def test_values_of_one_unit_are_drawn_together() -> None:
    values = np.random.default_rng(4).normal(size=50)
    alone = bootstrap_mean(values)
    copied = bootstrap_mean(np.repeat(values, 4), np.repeat(np.arange(50), 4).tolist())
    assert copied.value == pytest.approx(alone.value)
    # Copies of a photo's value bring no information: the interval must not shrink as it would for 200 values.
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=1e-9)


def test_mean_weighs_every_value_alike_whatever_the_size_of_its_unit() -> None:
    assert bootstrap_mean([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"]).value == 0.25


def test_paired_difference_removes_what_both_share() -> None:
    generator = np.random.default_rng(5)
    photo_difficulty = generator.normal(0, 10, size=200)
    difference = bootstrap_difference(photo_difficulty + 1, photo_difficulty + generator.normal(0, 0.1, size=200))
    assert difference.low > 0.9
    assert difference.high < 1.1


def test_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(6).normal(size=30)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_a_statistic_of_sums_gets_all_columns() -> None:
    ratio = bootstrap_sums([[1, 2], [3, 4]], lambda sums: sums[:, 0] / sums[:, 1])
    assert ratio.value == pytest.approx(4 / 6)
    assert ratio.low == pytest.approx(1 / 2)
    assert ratio.high == pytest.approx(3 / 4)


def test_a_single_value_has_an_interval_without_width() -> None:
    assert bootstrap_mean([3.0]) == (3.0, 3.0, 3.0)


def test_empty_and_unequal_input_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one unit"):
        bootstrap_mean([])
    with pytest.raises(ValueError, match="a unit for each of 2 values but received 1"):
        bootstrap_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="Expected pairs but received 1 and 2"):
        bootstrap_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="level between 0 and 1"):
        bootstrap_mean([1.0], level=95)
