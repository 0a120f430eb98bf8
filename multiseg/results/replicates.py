"""The replicate as the unit: t intervals and one-sided tests over replicates, for verdicts.

A replicate has subjects, test cases and training seeds of its own, so that differences between two models that share
it are independent from one replicate to the next. Cases and seeds within one are not: they are averaged first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .summaries import with_correct_emptiness

LEAST_REPLICATES = 3
"""With fewer there is no interval and no verdict."""

ALPHA = 0.025
"""Level of each one-sided test; two of them make a 95 % interval."""


def replicate_means(metrics: pd.DataFrame, labels: Sequence[str], value: str = "dice") -> pd.DataFrame:
    """Return the mean of some labels in each replicate: replicate (rows) x model, from tidy rows of one scenario.

    Labels are averaged first, then the cases of a subject and seeds, then subjects. A label that is rightly not
    predicted counts as 1, see `with_correct_emptiness`. There is a column of `value` for each model that has any of the
    labels, NaN where it did not run.
    """
    counted = with_correct_emptiness(metrics[metrics["label"].isin(labels)], value)
    # subjects of two test cohorts may be called alike
    counted = counted.assign(cohort=counted.get("cohort", ""))
    per_case = counted.groupby(["model", "replicate", "cohort", "subject", "case", "seed"])[value].mean()
    per_subject = per_case.groupby(["model", "replicate", "cohort", "subject"]).mean()
    return per_subject.groupby(["model", "replicate"]).mean().unstack("model")


def model_intervals(
    metrics: pd.DataFrame, labels: Sequence[str], models: Sequence[str], value: str = "dice"
) -> pd.DataFrame:
    """Return the mean of some labels for each model that has any: ``replicates, mean, low, high``, index model."""
    means = replicate_means(metrics, labels, value)
    found = {model: Interval.of(means[model].to_numpy()) for model in models if model in means}
    rows = {model: (e.n, e.mean, e.low, e.high) for model, e in found.items()}
    return pd.DataFrame.from_dict(rows, "index", columns=["replicates", "mean", "low", "high"]).rename_axis("model")


@dataclass(frozen=True)
class Interval:
    """A mean over replicates that is asked whether it exceeds a threshold."""

    mean: float
    low: float
    high: float
    """The 95 % t interval on one degree of freedom less than replicates; NaN for fewer than `LEAST_REPLICATES`."""
    p_above: float
    p_below: float
    """One-sided p values against "is not above" and "is not below" the threshold; NaN as above."""
    n: int = 0
    """Number of replicates that have a value."""

    @classmethod
    def of(cls, values: np.ndarray, threshold: float = 0.0) -> Interval:
        """Interval from the values of the replicates, (R,); NaN is left out."""
        values = values[~np.isnan(values)]
        n = len(values)
        mean = float(values.mean()) if n else float("nan")
        if n < LEAST_REPLICATES:
            return cls(mean, np.nan, np.nan, np.nan, np.nan, n)
        # replicates that agree to the last digit still differ by what Dice cannot show
        error = max(float(values.std(ddof=1)), 1e-9) / np.sqrt(n)
        half = float(stats.t.isf(ALPHA, n - 1)) * error
        t = (mean - threshold) / error
        return cls(mean, mean - half, mean + half, float(stats.t.sf(t, n - 1)), float(stats.t.cdf(t, n - 1)), n)


def with_interval(mean: float, low: float, high: float, form: str = ".3f") -> str:
    """Return a mean with its interval in brackets, if it has one."""
    return f"{mean:{form}}" + (f" ({low:{form}} to {high:{form}})" if np.isfinite(low) else "")


def in_every(estimates: Sequence[Interval]) -> Interval:
    """Judge "above the threshold everywhere" (intersection-union; Berger 1982, Technometrics 24, 295-300).

    Every place must pass at full level, and one that fails must do so after a correction for their number (Bonferroni):
    the least of several means is itself a poor statistic, whose bootstrap interval is far too low.

    `estimates` has one for each scenario, with one threshold. Returned are the least mean and the least bounds.
    """
    means, lows, highs, above, below, n = _columns(estimates)
    return Interval(min(means), np.min(lows), np.min(highs), np.max(above), min(len(n) * np.min(below), 1.0), min(n))


def in_some(estimates: Sequence[Interval]) -> Interval:
    """Judge "above the threshold somewhere": the largest mean, the converse of `in_every`."""
    means, lows, highs, above, below, n = _columns(estimates)
    return Interval(max(means), np.max(lows), np.max(highs), min(len(n) * np.min(above), 1.0), np.max(below), min(n))


def _columns(estimates: Sequence[Interval]) -> Iterable[Sequence[Any]]:
    """Return each attribute of some intervals; numpy's least of them, unlike Python's, is NaN if there is any."""
    return zip(*map(astuple, estimates), strict=True)


def verdict(p_above: float, p_below: float) -> str:
    """Return ``holds``, ``does not hold`` or ``inconclusive`` from p values that are corrected already."""
    return "holds" if p_above <= ALPHA else "does not hold" if p_below <= ALPHA else "inconclusive"
