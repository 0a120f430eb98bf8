import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multiseg_core.statistics import case_test, mean_dice, t_interval, thesis_test, wilcoxon_p


def table(values: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Model -> Dice by case (rows) and label (columns)."""
    return pd.DataFrame(
        [
            {"scenario": "s", "model": m, "seed": 0, "cohort": "c", "case": f"c{i}", "label": f"l{k}", "dice": dice}
            for m, cases in values.items()
            for i, labels in enumerate(cases)
            for k, dice in enumerate(labels)
        ]
    )


def test_wilcoxon_equals_counting_all_signs() -> None:
    difference = np.array([0.1, -0.02, 0.3, 0.07, 0.2])
    ranks = stats.rankdata(np.abs(difference))
    observed = ranks[difference > 0].sum()
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product([0, 1], repeat=5)]
    expected = 2 * np.mean([s >= observed for s in sums])
    assert wilcoxon_p(difference) == pytest.approx(expected)
    assert wilcoxon_p(np.zeros(4)) == 1 and wilcoxon_p(np.array([])) == 1


def test_thesis_test_pools_labels_and_corrects_over_pairs_of_models() -> None:
    metrics = table({"a": [[0.9, 0.8], [0.7, 0.85]], "b": [[0.5, 0.6], [0.6, 0.1]], "c": [[0.9, 0.8], [0.7, 0.85]]})
    result = thesis_test(metrics).set_index(["model_a", "model_b"])
    ab = result.loc[("a", "b")]
    assert ab["n"] == 4 and ab["difference"] == pytest.approx((0.4 + 0.2 + 0.1 + 0.75) / 4)
    assert ab["p"] == pytest.approx(2 / 2**4)  # all four of one sign
    assert ab["p_corrected"] == pytest.approx(3 * 2 / 2**4) and not ab["significant"]
    assert result.loc[("a", "c"), "p"] == 1


def test_case_test_averages_over_labels_first() -> None:
    metrics = table({"a": [[0.9, 0.8], [0.7, 0.9]], "b": [[0.5, 0.6], [0.6, 0.4]]})
    row = case_test(metrics).iloc[0]
    differences = [0.85 - 0.55, 0.8 - 0.5]
    assert row["n"] == 2 and row["difference"] == pytest.approx(np.mean(differences))


def test_undefined_values_are_left_out_in_pairs() -> None:
    metrics = table({"a": [[0.9, np.nan], [0.7, 0.9]], "b": [[0.5, 0.1], [0.6, 0.4]]})
    # the thesis counts an undefined Dice as 0
    row = thesis_test(metrics).iloc[0]
    assert row["n"] == 4 and row["mean_a"] == pytest.approx((0.9 + 0 + 0.7 + 0.9) / 4)
    # the case mean of b must not include the label that a lacks
    assert case_test(metrics).iloc[0]["mean_b"] == pytest.approx((0.5 + 0.5) / 2)


def test_copies_of_a_seed_are_no_evidence() -> None:
    metrics = table({"a": [[0.9, 0.8], [0.7, 0.9]], "b": [[0.5, 0.6], [0.6, 0.4]]})
    copies = pd.concat([metrics.assign(seed=seed) for seed in range(3)])
    for test in (thesis_test, case_test):
        pd.testing.assert_frame_equal(test(copies), test(metrics))


def test_t_interval_by_hand() -> None:
    low, high = t_interval(np.array([1.0, 2.0, 3.0]))
    half = 4.302653 * 1 / np.sqrt(3)  # t(0.975, 2 degrees of freedom), sd 1
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert all(np.isnan(t_interval(np.array([1.0])))) and t_interval(np.ones(3)) == (1.0, 1.0)


def test_mean_dice() -> None:
    result = mean_dice(table({"a": [[0.9, 0.8], [0.7, np.nan]]}))
    assert result.loc[("s", "a")].tolist() == pytest.approx([0.8, 0.8, (0.9 + 0.8 + 0.7) / 3])
