import numpy as np
import pytest
from scipy import stats

from multiseg.results.effect_sizes import cases_needed, effect_interval, effect_size, power


@pytest.mark.parametrize(
    ("effect", "alpha", "wanted", "cases"),
    # paired t test, two-sided, as G*Power 3.1 gives them
    [(0.5, 0.05, 0.8, 34), (0.2, 0.05, 0.8, 199), (0.8, 0.05, 0.8, 15), (0.5, 0.05, 0.95, 54), (-0.5, 0.05, 0.8, 34)],
)
def test_cases_needed_are_those_of_the_textbook(effect: float, alpha: float, wanted: float, cases: int) -> None:
    assert cases_needed(effect, alpha, wanted) == cases


def test_cases_needed_is_the_smallest_number_with_enough_power() -> None:
    for effect in (0.1, 0.7, 2.0, 5.0):
        n = int(cases_needed(effect))
        for m, enough in ((n, True), (n - 1, False)):
            if m >= 2:
                # the power by both tails of the noncentral t
                t, critical = effect * np.sqrt(m), stats.t.isf(0.025, m - 1)
                by_t = stats.nct.sf(critical, m - 1, t) + (stats.nct.cdf(-critical, m - 1, t) if t < 3 else 0)
                assert power(effect, m) == pytest.approx(by_t, abs=1e-6)
                assert (power(effect, m) >= 0.8) == enough


def test_cases_needed_at_the_edges() -> None:
    assert cases_needed(0) == np.inf and np.isnan(cases_needed(np.nan)) and cases_needed(-np.inf) == 2
    assert cases_needed(1e6) == 2
    # where the normal approximation takes over, nothing jumps: 7.849 / d^2
    assert cases_needed(0.0088) == pytest.approx(7.849 / 0.0088**2, rel=1e-3)
    assert cases_needed(0.009) == pytest.approx(7.849 / 0.009**2, rel=1e-3)


def test_effect_interval_inverts_the_noncentral_t() -> None:
    for effect, n in ((0.5, 20), (-1.5, 6), (0.0, 10), (40.0, 5)):
        low, high = effect_interval(effect, n)
        t = effect * np.sqrt(n)
        assert stats.nct.cdf(t, n - 1, high * np.sqrt(n)) == pytest.approx(0.025, abs=1e-6)
        assert stats.nct.cdf(t, n - 1, low * np.sqrt(n)) == pytest.approx(0.975, abs=1e-6)
    assert np.isnan(effect_interval(0.5, 1)).all() and np.isnan(effect_interval(np.inf, 9)).all()


def test_effect_size_by_hand() -> None:
    assert effect_size(np.array([1.0, 2.0, 3.0])) == pytest.approx(2)
    assert effect_size(np.full(3, 0.1)) == np.inf and effect_size(np.full(3, -0.1)) == -np.inf
    assert effect_size(np.zeros(3)) == 0 and np.isnan(effect_size(np.array([1.0])))
