"""Means and medians of results, and what all statistics share: names of columns, the rule for undefined values.

All functions take the tidy rows of a study's ``metrics.csv``: the columns of `KEY`, and values such as Dice.

The Dice of a label is undefined (NaN) in a case where it is neither in the target nor predicted. Means of one model
leave such a value out. Where models are compared (`model_comparison`, the ledger of findings, ``multiseg compare``) it
counts as 1: left out, it would favour a model that invents lesions in healthy subjects over one that does not. Any other
value that a model lacks (for the same seed, case and label) is left out for all that are compared: both models of a
pair, all models in a ranking. `thesis_test` counts an undefined Dice as 0, as the thesis did.
"""

from __future__ import annotations

import pandas as pd

KEY = ("scenario", "model", "replicate", "seed", "cohort", "subject", "case", "label")
"""The columns that name a row of results."""


def with_correct_emptiness(metrics: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return rows in which a Dice or Jaccard index counts as 1 where a label is rightly not predicted.

    Parameters
    ----------
    metrics
        Tidy rows. Without the columns ``volume_true_ml`` and ``volume_pred_ml`` nobody knows why a value is missing,
        and nothing changes. A label that no case of a scenario has is left alone.
    value
        The column of values.
    """
    volumes = ["volume_true_ml", "volume_pred_ml"]
    if value not in ("dice", "jaccard") or not set(volumes) <= set(metrics.columns):
        return metrics
    occurs = metrics.groupby(["scenario", "label"])["volume_true_ml"].transform("max") > 0
    empty = (metrics[volumes] == 0).all(axis=1) & metrics[value].isna() & occurs
    return metrics.assign(**{value: metrics[value].where(~empty, 1.0)})


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
