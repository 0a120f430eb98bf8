"""Are the differences between models more than chance?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

ALPHA = 0.05


def mean_dice(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice by scenario and model: one column per label and ``mean`` over labels and cases.

    Undefined values (NaN: the label is neither in the target nor predicted) are left out of the means.
    """
    table = metrics.pivot_table(index=["scenario", "model"], columns="label", values="dice", sort=False)
    table["mean"] = metrics.groupby(["scenario", "model"], sort=False)["dice"].mean()
    return table


def thesis_test(metrics: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs of models as the thesis does (6.1).

    Wilcoxon's signed-rank test on the Dice of all (image, label) pairs, Bonferroni-corrected over the pairs of models of
    a scenario; several seeds are averaged first. Labels of one image are not independent, so its n is inflated and its
    p values are too small; see `case_test` for the sound comparison.

    Parameters
    ----------
    metrics
        Tidy rows with ``scenario, model, seed, case, label, dice``. An undefined Dice counts as 0, the thesis's rule.

    Returns
    -------
    pd.DataFrame
        ``scenario, model_a, model_b, n, mean_a, mean_b, difference, p, p_corrected, significant``.
    """
    return _compare(metrics.assign(dice=metrics["dice"].fillna(0)), ["cohort", "case", "label"])


def case_test(metrics: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs of models with the case as the unit.

    Dice is averaged over labels and seeds of a case first; then Wilcoxon's signed-rank test over cases, Bonferroni-
    corrected, and a 95 % interval of the mean difference (Student's t over cases). With few cases even a difference of
    one sign in every case cannot reach significance after correction; the interval then says more than p. A value that
    is undefined for one of the two models is left out for both.

    Returns
    -------
    pd.DataFrame
        As `thesis_test`, with ``low`` and ``high``.
    """
    return _compare(metrics, ["cohort", "case"], interval=True)


def _compare(metrics: pd.DataFrame, unit: Sequence[str], interval: bool = False) -> pd.DataFrame:
    rows = []
    for scenario, part in metrics.groupby("scenario", sort=False):
        values = part.pivot_table(
            index=["seed", "cohort", "case", "label"], columns="model", values="dice", sort=False, dropna=False
        )
        models = list(dict.fromkeys(part["model"]))
        pairs = list(itertools.combinations(models, 2))
        for a, b in pairs:
            # only pairs with a value for both models count, then each unit weighs the same
            both = values[[a, b]].dropna().groupby(level=list(unit), sort=False).mean()
            difference = (both[a] - both[b]).to_numpy()
            p = wilcoxon_p(difference)
            row = {
                "scenario": scenario,
                "model_a": a,
                "model_b": b,
                "n": len(both),
                "mean_a": both[a].mean(),
                "mean_b": both[b].mean(),
                "difference": difference.mean() if len(difference) else np.nan,
                "p": p,
                "p_corrected": min(p * len(pairs), 1.0),
            }
            row["significant"] = bool(row["p_corrected"] < ALPHA)
            if interval:
                row["low"], row["high"] = t_interval(difference)
            rows.append(row)
    return pd.DataFrame(rows)


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 if there is no difference at all, or nothing to compare."""
    if not np.any(difference):
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)


def t_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean; NaN for fewer than two values, the value itself if all are equal."""
    if len(values) < 2:
        return float("nan"), float("nan")
    error = stats.sem(values)
    if error == 0:
        return float(values[0]), float(values[0])
    low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=error)
    return float(low), float(high)
