"""The test of the thesis, as it stands there; `model_comparison` has the sound one, with the case as its unit."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from .effect_sizes import ALPHA


def thesis_test(metrics: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs of models as the thesis does (6.1).

    Wilcoxon's signed-rank test on the Dice of all (image, label) pairs, Bonferroni-corrected over the pairs of models
    of a scenario; several seeds are averaged first. Labels of one image are not independent, so its n is inflated and
    its p values are too small; see `model_comparison.paired_comparison` for the sound comparison.

    Parameters
    ----------
    metrics
        Tidy rows with ``scenario, model, seed, cohort, case, label, dice``. An undefined Dice counts as 0, the thesis's
        rule; a row that only one model of a pair has is left out.

    Returns
    -------
    pd.DataFrame
        ``scenario, model_a, model_b, n, mean_a, mean_b, difference, p, p_corrected, significant``.
    """
    rows = []
    for scenario, part in metrics.assign(dice=metrics["dice"].fillna(0)).groupby("scenario", sort=False):
        values = part.set_index(["seed", "cohort", "case", "label", "model"])["dice"].unstack("model")
        pairs = list(itertools.combinations(dict.fromkeys(part["model"]), 2))
        for a, b in pairs:
            both = values[[a, b]].dropna().groupby(level=["cohort", "case", "label"], sort=False).mean()
            difference = (both[a] - both[b]).to_numpy()
            mean = difference.mean() if len(difference) else np.nan
            p = wilcoxon_p(difference)
            tested = mean, p, min(p * len(pairs), 1.0), p * len(pairs) < ALPHA
            rows.append((scenario, a, b, len(both), both[a].mean(), both[b].mean(), *tested))
    pair, test = ["scenario", "model_a", "model_b", "n", "mean_a", "mean_b"], ["p", "p_corrected", "significant"]
    return pd.DataFrame(rows, columns=[*pair, "difference", *test]) if rows else pd.DataFrame()


def wilcoxon_p(difference: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; 1 if there is no difference at all, or nothing to compare."""
    if not np.any(difference):
        return 1.0
    return float(stats.wilcoxon(difference).pvalue)
