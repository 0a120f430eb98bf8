import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multiseg.results.thesis_test import thesis_test, wilcoxon_p
from tests.conftest import tidy


def test_wilcoxon_equals_counting_all_signs() -> None:
    difference = np.array([0.1, -0.02, 0.3, 0.07, 0.2])
    ranks = stats.rankdata(np.abs(difference))
    observed = ranks[difference > 0].sum()
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product([0, 1], repeat=5)]
    expected = 2 * np.mean([s >= observed for s in sums])
    assert wilcoxon_p(difference) == pytest.approx(expected)
    assert wilcoxon_p(np.zeros(4)) == 1 and wilcoxon_p(np.array([])) == 1


def test_thesis_test_pools_labels_and_corrects_over_pairs_of_models() -> None:
    metrics = tidy({"a": [[0.9, 0.8], [0.7, 0.85]], "b": [[0.5, 0.6], [0.6, 0.1]], "c": [[0.9, 0.8], [0.7, 0.85]]})
    result = thesis_test(metrics).set_index(["model_a", "model_b"])
    ab = result.loc[("a", "b")]
    assert ab["n"] == 4 and ab["difference"] == pytest.approx((0.4 + 0.2 + 0.1 + 0.75) / 4)
    assert ab["p"] == pytest.approx(2 / 2**4)  # all four of one sign
    assert ab["p_corrected"] == pytest.approx(3 * 2 / 2**4) and not ab["significant"]
    assert result.loc[("a", "c"), "p"] == 1


def test_the_thesis_counts_an_undefined_dice_as_0() -> None:
    metrics = tidy({"a": [[0.9, np.nan], [0.7, 0.9]], "b": [[0.5, 0.1], [0.6, 0.4]]})
    row = thesis_test(metrics).iloc[0]
    assert row["n"] == 4 and row["mean_a"] == pytest.approx((0.9 + 0 + 0.7 + 0.9) / 4)
    assert row["difference"] == pytest.approx((0.4 - 0.1 + 0.1 + 0.5) / 4)


def test_rows_of_one_model_only_are_left_out_of_the_thesis_s_test() -> None:
    metrics = tidy({"a": [[0.9, 0.8], [0.7, 0.9]], "b": [[0.5, 0.1], [0.6, 0.4]]})
    row = thesis_test(metrics.drop(index=0)).iloc[0]  # model a, first case, first label
    assert row["n"] == 3 and row["mean_b"] == pytest.approx((0.1 + 0.6 + 0.4) / 3)


def test_copies_of_a_seed_are_no_evidence() -> None:
    metrics = tidy({"a": [[0.9, 0.8], [0.7, 0.9]], "b": [[0.5, 0.6], [0.6, 0.4]]})
    copies = pd.concat([metrics.assign(seed=seed) for seed in range(3)])
    pd.testing.assert_frame_equal(thesis_test(copies), thesis_test(metrics))
