import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multiseg.report.figures import comparison_charts
from multiseg.results.effect_sizes import cases_needed
from multiseg.results.model_comparison import (
    holm,
    model_means,
    non_inferiority,
    paired_comparison,
    rank_stability,
    subjects_table,
)
from multiseg_core.errors import UserError
from tests.conftest import tidy


def simulated(
    generator: np.random.Generator, effect: float, cases: int, seeds: int, seed_sd: float, models: str = "ab"
) -> pd.DataFrame:
    """Each model is `effect` better than the one before it; cases are hard or easy, seeds lucky or not."""
    difficulty = generator.normal(0.7, 0.1, cases)
    luck = generator.normal(0, seed_sd, (len(models), seeds))
    taste = generator.normal(0, 0.05, (len(models), cases))
    return pd.DataFrame(
        [
            {
                "scenario": "s", "model": m, "replicate": 1, "seed": s, "cohort": "c", "subject": f"c{c}",
                "case": f"c{c}", "label": label,
                "dice": difficulty[c] + taste[i, c] + luck[i, s] + i * effect,
            }
            for i, m in enumerate(models) for s in range(seeds) for c in range(cases) for label in ("x", "y")
        ]
    )  # fmt: skip


def test_paired_comparison_by_hand() -> None:
    # rows are cases, columns labels; the second label of the third case is nowhere
    metrics = tidy({"a": [[0.9, 0.8], [0.7, 0.9], [0.6, np.nan]], "b": [[0.5, 0.6], [0.6, 0.4], [0.5, 0.2]]})
    row = paired_comparison(metrics).iloc[0]
    differences = np.array([(0.4 + 0.2) / 2, (0.1 + 0.5) / 2, 0.1])
    assert (row["n_subjects"], row["n_seeds"]) == (3, 1)
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["mean_a"] == pytest.approx((0.85 + 0.8 + 0.6) / 3)
    assert row["mean_b"] == pytest.approx((0.55 + 0.5 + 0.5) / 3)
    assert row["effect"] == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert row["p"] == pytest.approx(2 / 2**3) and row["p_holm"] == row["p"] and not row["significant"]


def test_each_seed_of_a_case_weighs_the_same() -> None:
    metrics = pd.concat(
        [
            tidy({"a": [[0.9, 0.7]] * 2, "b": [[0.5, 0.5]] * 2}),
            tidy({"a": [[0.4, np.nan]] * 2, "b": [[0.5, 0.5]] * 2}).assign(seed=1),
        ]
    )
    row = paired_comparison(metrics).iloc[0]
    assert row["difference"] == pytest.approx(((0.4 + 0.2) / 2 + -0.1) / 2) and row["n_seeds"] == 2


def test_copies_of_a_seed_are_no_evidence() -> None:
    metrics = tidy({"a": [[0.9, 0.8], [0.7, 0.9], [0.8, 0.7]], "b": [[0.5, 0.6], [0.6, 0.4], [0.9, 0.6]]})
    copies = pd.concat([metrics.assign(seed=seed) for seed in range(3)])
    columns = ["n_subjects", "mean_a", "mean_b", "difference", "effect", "effect_low", "effect_high", "p", "p_holm"]
    pd.testing.assert_frame_equal(paired_comparison(copies)[columns], paired_comparison(metrics)[columns])


def test_one_seed_gives_student_s_interval() -> None:
    differences = np.random.default_rng(1).normal(0.05, 0.1, 15)
    metrics = tidy({"a": [[0.5 + d] for d in differences], "b": [[0.5]] * 15})
    row = paired_comparison(metrics, resamples=40_000).iloc[0]
    low, high = stats.t.interval(0.95, 14, differences.mean(), stats.sem(differences))
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.02 * (high - low))


def test_interval_of_a_constant_difference_has_no_width() -> None:
    metrics = tidy({"a": [[0.9, 0.7], [0.5, 0.4], [0.31, 0.2]] * 2, "b": [[0.8, 0.6], [0.4, 0.3], [0.21, 0.1]] * 2})
    row = paired_comparison(pd.concat([metrics, metrics.assign(seed=1)])).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((0.1, 0.1), abs=1e-12)
    assert row["effect"] == np.inf and np.isnan(row["effect_low"])
    equal = paired_comparison(metrics.assign(dice=0.5)).iloc[0]
    assert (equal["difference"], equal["low"], equal["high"], equal["effect"], equal["p"]) == (0, 0, 0, 0, 1)


def test_all_intervals_hold_the_truth_together_as_often_as_they_say() -> None:
    """With 36 unadjusted intervals at least one excluded 0 in two of three studies without any difference."""
    generator = np.random.default_rng(8)
    hits = []
    for _ in range(150):
        pairs = paired_comparison(simulated(generator, 0.0, 8, 1, 0.0, "abcdefghi"), resamples=400)
        hits.append(not pairs["significant"].any())
    assert len(pairs) == 36 and 0.90 <= np.mean(hits) <= 0.99


def test_contrasts_named_beforehand_have_narrower_intervals() -> None:
    metrics = simulated(np.random.default_rng(2), 0.02, 10, 1, 0.0, "abcde")
    every = paired_comparison(metrics).set_index(["model_a", "model_b"])
    (only,) = paired_comparison(metrics, contrasts=[("c", "a")]).itertuples()
    assert (only.model_a, only.model_b) == ("c", "a")
    assert only.difference == pytest.approx(-every.loc[("a", "c"), "difference"])
    assert only.high - only.low < every.loc[("a", "c"), "high"] - every.loc[("a", "c"), "low"]
    with pytest.raises(UserError, match="contrast: no model 'f'; the models are a, b, c, d, e"):
        paired_comparison(metrics, contrasts=[("a", "f")])


def test_the_cases_of_a_subject_are_one_unit() -> None:
    """Eight tumours in two heads were taken for eight subjects."""
    metrics = tidy({"a": [[0.9], [0.7], [0.5]], "b": [[0.8], [0.5], [0.4]]})
    row = paired_comparison(metrics.assign(subject=metrics["case"].map({"c0": "p", "c1": "p", "c2": "q"}))).iloc[0]
    assert row["n_subjects"] == 2 and row["difference"] == pytest.approx((0.15 + 0.1) / 2)
    assert row["mean_a"] == pytest.approx((0.8 + 0.5) / 2)


def test_a_model_that_invents_lesions_does_not_win_by_the_cases_that_drop_out() -> None:
    metrics = tidy({"sober": [[0.7], [np.nan], [np.nan]], "inventive": [[0.75], [0.0], [0.0]]})
    metrics["volume_true_ml"] = metrics["case"].map({"c0": 5.0, "c1": 0.0, "c2": 0.0})
    metrics["volume_pred_ml"] = np.where(metrics["dice"].isna(), 0.0, 3.0)
    row = paired_comparison(metrics).iloc[0]
    assert row["mean_a"] == pytest.approx((0.7 + 1 + 1) / 3) and row["mean_b"] == pytest.approx(0.25)
    assert model_means(metrics)["mean"].tolist() == pytest.approx([0.9, 0.25])
    assert rank_stability(metrics)["model"].tolist() == ["sober", "inventive"]
    # of a label that no case has nothing is known, nor of why a value is missing
    for same in (metrics.assign(volume_true_ml=0.0), metrics.drop(columns="volume_pred_ml")):
        assert paired_comparison(same).iloc[0]["n_subjects"] == 1


def test_non_inferiority_by_hand() -> None:
    comparison = pd.DataFrame(
        {
            "scenario": "s", "model_a": "a", "model_b": list("wxyz"), "n_subjects": 9,
            "difference": [0.0, 0.0, -0.2, np.nan], "low": [-0.01, -0.05, -0.3, np.nan],
            "high": [0.01, 0.05, -0.1, np.nan],
        }
    )  # fmt: skip
    judged = non_inferiority(comparison, 0.02)
    assert judged["verdict"].tolist() == ["holds", "inconclusive", "does not hold", "inconclusive"]
    turned = non_inferiority(comparison, 0.02, higher_is_better=False)
    assert turned["verdict"].tolist() == ["holds", "inconclusive", "holds", "inconclusive"]


@pytest.mark.parametrize(("cases", "seeds", "seed_sd"), [(8, 1, 0.0), (12, 5, 0.04)])
def test_intervals_hold_the_truth_as_often_as_they_say(cases: int, seeds: int, seed_sd: float) -> None:
    generator = np.random.default_rng(4)
    hits = []
    for _ in range(200):
        row = paired_comparison(simulated(generator, 0.03, cases, seeds, seed_sd), resamples=400).iloc[0]
        hits.append(row["low"] <= -0.03 <= row["high"])
    # 200 draws of .95 lie within .90 and .99 but for one time in a thousand
    assert 0.90 <= np.mean(hits) <= 0.99


def test_a_lucky_seed_widens_the_interval_though_cases_agree() -> None:
    # all cases give the same difference, which is of the seeds: resampling seeds within cases would average it away
    parts = [tidy({"a": [[0.5 + luck]] * 10, "b": [[0.5]] * 10}).assign(seed=s) for s, luck in enumerate([0, 0.1, 0.2])]
    row = paired_comparison(pd.concat(parts)).iloc[0]
    # of three seeds drawn thrice, the mean has the standard deviation sqrt(2 / 3) * 0.1 / sqrt(3)
    half = stats.t.isf(0.025, 9) * np.sqrt(10 / 9) * np.sqrt(2 / 3) * 0.1 / np.sqrt(3)
    assert row["high"] - row["difference"] == pytest.approx(half, rel=0.05)


def test_comparisons_repeat_and_scenarios_do_not_touch_each_other() -> None:
    metrics = simulated(np.random.default_rng(5), 0.02, 6, 2, 0.02, "abc")
    both = pd.concat([metrics.assign(scenario="first", dice=metrics["dice"] ** 2), metrics])
    once, again = paired_comparison(metrics), paired_comparison(both)
    pd.testing.assert_frame_equal(once, again[again["scenario"] == "s"].reset_index(drop=True))
    assert not once.equals(paired_comparison(metrics, seed=1))
    # the order of rows is no matter but for the order of models
    shuffled = metrics.sample(frac=1, random_state=0).sort_values("model", kind="stable")
    columns = ["model_a", "model_b", "difference", "effect", "p_holm"]
    pd.testing.assert_frame_equal(once[columns], paired_comparison(shuffled)[columns])


def test_pairs_without_common_values_are_undefined_and_not_counted() -> None:
    metrics = tidy({"a": [[0.9], [0.8], [0.7]], "b": [[0.1], [0.2], [0.3]], "c": [[0.5], [0.4], [0.45]]})
    metrics.loc[metrics["model"] == "c", "seed"] = 7
    result = paired_comparison(metrics).set_index(["model_a", "model_b"])
    assert (
        result.loc[("a", "c"), "n_subjects"] == 0
        and np.isnan(result.loc[("a", "c"), ["low", "p", "p_holm"]].tolist()).all()
    )
    assert result.loc[("a", "b"), "p_holm"] == result.loc[("a", "b"), "p"]
    assert rank_stability(metrics)[["mean", "rank_1"]].isna().all(axis=None)
    means = model_means(metrics).set_index("model")["mean"]
    assert means.to_dict() == pytest.approx({"a": 0.8, "b": 0.2, "c": 0.45})


def test_one_case_has_no_interval() -> None:
    row = paired_comparison(tidy({"a": [[0.9]], "b": [[0.1]]})).iloc[0]
    assert row["difference"] == pytest.approx(0.8) and row["p"] == 1
    assert np.isnan([row["low"], row["effect"], row["effect_low"]]).all()


def test_infinite_and_double_values_are_refused() -> None:
    metrics = tidy({"a": [[0.9]], "b": [[np.inf]]})
    with pytest.raises(UserError, match="'dice' has infinite values"):
        paired_comparison(metrics)
    with pytest.raises(
        UserError,
        match="two rows for scenario s, model a, replicate 1, seed 0, cohort c, subject c0, case c0, label l0",
    ):
        rank_stability(pd.concat([metrics.iloc[:1], metrics.iloc[:1]]))


def test_model_means_by_hand() -> None:
    row = model_means(tidy({"a": [[0.9, 0.7], [0.5, np.nan]]})).iloc[0]
    assert row["mean"] == pytest.approx((0.8 + 0.5) / 2) and row["n_subjects"] == 2
    assert np.isnan([row["low"], row["high"]]).all()  # two subjects say nothing of others
    row = model_means(tidy({"a": [[v] for v in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)]})).iloc[0]
    assert row["low"] < row["mean"] < row["high"]


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04: times 4, 3, 2, 1 and never falling: .04 .06 .06 .06
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.6, np.nan, 0.7])) == pytest.approx([1, np.nan, 1], nan_ok=True)
    assert len(holm(np.array([]))) == 0


def test_a_model_that_always_wins_has_rank_1() -> None:
    values = {"b": [[0.5], [0.3], [0.4]], "a": [[0.9], [0.8], [0.7]], "c": [[0.4], [0.2], [0.1]]}
    result = rank_stability(tidy(values)).set_index("model")
    assert list(result.index) == ["a", "b", "c"]
    ranks = result[["rank_1", "rank_2", "rank_3"]].to_numpy()
    assert ranks == pytest.approx(np.eye(3))
    turned = rank_stability(tidy(values), higher_is_better=False).set_index("model")
    assert list(turned.index) == ["c", "b", "a"] and turned.loc["c", "rank_1"] == 1


def test_rank_shares_of_two_cases_by_counting() -> None:
    # a wins by 2 on one case, b by 1 on the other; of the four draws, a wins three: one has b's case twice
    result = rank_stability(tidy({"a": [[3], [0]], "b": [[1], [1]]}), resamples=20_000).set_index("model")
    assert result.loc["a", "rank_1"] == pytest.approx(0.75, abs=0.01)
    assert result.loc["b", ["rank_1", "rank_2"]].sum() == pytest.approx(1)


def test_ranks_use_common_values_only() -> None:
    # b lacks the case on which a fails
    result = rank_stability(tidy({"a": [[0.6], [0.6], [0.0]], "b": [[0.5], [0.5], [np.nan]]})).set_index("model")
    assert result.loc["a", "rank_1"] == 1 and result["n_subjects"].tolist() == [2, 2]


def test_subjects_table_corrects_over_the_pairs_of_a_scenario() -> None:
    metrics = simulated(np.random.default_rng(6), 0.02, 10, 1, 0, "abc")
    comparison = paired_comparison(metrics)
    result = subjects_table(comparison)
    assert result["subjects_needed"].tolist() == [cases_needed(e) for e in comparison["effect"]]
    assert result["subjects_needed_corrected"].tolist() == [cases_needed(e, 0.05 / 3) for e in comparison["effect"]]


def test_a_single_model_has_nothing_to_be_compared_with() -> None:
    table = pd.DataFrame(
        {
            "scenario": "a",
            "model": "dice",
            "replicate": 1,
            "seed": 0,
            "cohort": "c",
            "subject": ["x", "y"],
            "case": ["x", "y"],
            "label": "gm",
            "dice": [0.5, 0.6],
        }
    )
    compared = paired_comparison(table)
    both = pd.concat([table, table.assign(model="other")])
    assert len(compared) == 0 and list(compared.columns) == list(paired_comparison(both).columns)
    assert len(subjects_table(compared)) == 0
    comparison_charts.difference_intervals(compared)
    assert rank_stability(table)["rank_1"].tolist() == [1.0]
