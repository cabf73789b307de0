"""What a few seeds can say, against worked examples."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ralkit.course.significance import at_best, direction, holm, noise_over_seeds, p_value, smallest_effect


def test_holm_by_hand():
    """Sorted .005, .01, .03, .04, times 4, 3, 2, 1: .02, .03, .06, .04, and the last is not below the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_at_its_ends():
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.0, 0.0]) == [0.0, 0.0]


@pytest.mark.parametrize(("n", "t"), [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262)])  # from a table of Student's t
def test_the_smallest_effect_of_n_seeds(n, t):
    assert smallest_effect(0.1, n) == pytest.approx(t * 0.1 / n**0.5, rel=1e-3)


def test_one_seed_sees_nothing():
    assert smallest_effect(0.1, 1) == np.inf == noise_over_seeds([1.0])
    assert p_value(1.0, 0.1, 1) == 1


def test_a_p_value_is_that_of_the_paired_test():
    a, b = np.array([1.0, 2.0, 3.5, 3.0]), np.array([0.5, 1.8, 2.5, 3.1])
    assert p_value((a - b).mean(), np.std(a - b, ddof=1), 4) == pytest.approx(ttest_rel(a, b).pvalue)


@pytest.mark.parametrize("changes", [[-1.0, -1.1, -0.9], [-0.1, -3.0, -0.2], [0.2, 0.4, 0.1, 0.3]])
def test_p_and_direction_agree(changes):
    p = p_value(np.mean(changes), np.std(changes, ddof=1), len(changes))
    assert (p < 0.05) == (direction(changes) != 0)


def test_the_best_temperature_is_chosen_on_the_other_seeds():
    values = [[0.0, 5.0], [3.0, 1.0], [3.0, 2.0]]
    assert list(at_best(values)) == [5.0, 3.0, 3.0]  # none picks its own least
    assert list(at_best(values[:1])) == [0.0]
