"""Means and medians of results, and what all statistics share: names of columns, the rule for undefined values.

All functions take the tidy rows of a study's ``metrics.csv``: the columns of `KEY`, and values such as Dice.

Undefined values follow one rule here, in `model_comparison`, in the ledger of findings and in ``multiseg compare``. The
Dice of a label is undefined (NaN) in a case where it is neither in the target nor predicted. Such a value is left out,
neither 0 nor 1. Where models are compared, a value that one of them lacks (for the same seed, case and label) is left
out for all that are compared: both models of a pair, all models in a ranking. The one exception is `thesis_test`, which
counts an undefined Dice as 0, as the thesis did.
"""

from __future__ import annotations

import pandas as pd

KEY = ("scenario", "model", "seed", "cohort", "case", "label")
"""The columns that name a row of results."""


def mean_dice(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice by scenario and model: one column per label and ``mean`` over labels and cases.

    Scenarios, models and labels stand in the order in which they come. Each model's mean is over the values that it
    has, so models with gaps are compared by `model_comparison` only.
    """
    rows = ["scenario", "model"]
    table = metrics.groupby([*rows, "label"])["dice"].mean().unstack("label")
    table["mean"] = metrics.groupby(rows)["dice"].mean()
    order = pd.MultiIndex.from_frame(metrics[rows].drop_duplicates())
    return table.loc[order, [*dict.fromkeys(metrics["label"]), "mean"]]


def surface_distances(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the median HD95 and ASSD (mm) of each label over cases and seeds, a row per scenario and model.

    The median, because the distance of a label that was missed is infinite. Cases without the label that predict none
    are left out.
    """
    columns = {
        (label, name): part.groupby(["scenario", "model"], sort=False)[f"{name.lower()}_mm"].median()
        for label, part in metrics.groupby("label", sort=False)
        for name in ("HD95", "ASSD")
    }
    order = metrics.groupby(["scenario", "model"], sort=False).size().index
    return pd.DataFrame(columns).reindex(order)
