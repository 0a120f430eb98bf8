import numpy as np
import pytest
from scipy import stats

from multiseg.results import bootstrap
from multiseg.results.bootstrap import rank_shares, resampled_means


def test_resampled_means_spread_as_scipy_s_bootstrap_of_cases() -> None:
    values = np.random.default_rng(2).normal(size=20)
    ours = resampled_means(values[None, None], 20_000).std()
    scipys = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).standard_error
    assert ours == pytest.approx(scipys, rel=0.03)


def test_equal_models_share_ranks() -> None:
    assert rank_shares(np.array([[0.5, 0.5, 0.1]])) == pytest.approx(
        np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    )


def test_chunks_of_resamples_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 7))
    values[0, 0, 3] = np.nan
    whole = resampled_means(values, 50)
    monkeypatch.setattr(bootstrap, "_CHUNK", 100)
    assert resampled_means(values, 50) == pytest.approx(whole)
