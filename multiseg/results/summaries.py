"""Means and medians of results, and what all statistics share: names of columns, the rule for undefined values.

All functions take the tidy rows of a study's ``metrics.csv``: the columns of `KEY`, and values such as Dice.

The Dice of a label is undefined (NaN) in a case where it is neither in the target nor predicted. Means of one model
leave such a value out. Where models are compared (`model_comparison`, the ledger of findings, ``multiseg compare``) it
counts as 1: left out, it would favour a model that invents lesions in healthy subjects over one that does not. Any
other value that a model lacks (for the same seed, case and label) is left out for all that are compared: both models of
a pair, all models in a ranking. `thesis_test` counts an undefined Dice as 0, as the thesis did.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

KEY = ("scenario", "model", "replicate", "seed", "cohort", "subject", "case", "label")
"""The columns that name a row of results."""


def with_correct_emptiness(metrics: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return rows in which a Dice or Jaccard index counts as 1 where a label is rightly not predicted.

    Without the columns ``volume_true_ml`` and ``volume_pred_ml`` nobody knows why a value is missing, and nothing
    changes. A label that no case of a test cohort has is left alone.
    """
    volumes = ["volume_true_ml", "volume_pred_ml"]
    if value not in ("dice", "jaccard") or not set(volumes) <= set(metrics.columns):
        return metrics
    place = [name for name in ("scenario", "cohort", "label") if name in metrics]
    occurs = metrics.groupby(place, dropna=False)["volume_true_ml"].transform("max") > 0
    empty = (metrics[volumes] == 0).all(axis=1) & metrics[value].isna() & occurs
    return metrics.assign(**{value: metrics[value].where(~empty, 1.0)})


def dice_by_modalities(subsets: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice by scenario, model and the modalities that were given: a column per label.

    `subsets` are tidy rows with ``modalities``; the mean is over cases, replicates and seeds.
    """
    known = subsets[subsets["dice"].notna()]
    table = known.groupby(["scenario", "model", "modalities", "label"], sort=False)["dice"].mean().unstack("label")
    return table.reindex(columns=known["label"].unique().tolist())


def mean_dice(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice by scenario and model: one column per label and ``mean`` over labels and cases.

    Scenarios, models and labels stand in the order in which they come. Each model's mean is over the values that it
    has, so models with gaps are compared by `model_comparison` only. Labels without any Dice are left out.
    """
    rows = ["scenario", "model"]
    metrics = metrics[metrics["dice"].notna().groupby(metrics["label"]).transform("any")]
    table = metrics.groupby([*rows, "label"])["dice"].mean().unstack("label")
    table["mean"] = metrics.groupby(rows)["dice"].mean()
    order = pd.MultiIndex.from_frame(metrics[rows].drop_duplicates())
    return table.loc[order, [*dict.fromkeys(metrics["label"]), "mean"]]


def surface_distances(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the median HD95 and ASSD (mm) of each label over cases and seeds, a row per scenario and model.

    The median, because the distance of a label that was missed is infinite. Cases without the label that predict none
    are left out.
    """
    if "dice" in metrics:  # the distances of what cannot be there say nothing
        metrics = metrics[metrics["dice"].notna().groupby(metrics["label"]).transform("any")]
    columns = {
        (label, name): part.groupby(["scenario", "model"], sort=False)[f"{name.lower()}_mm"].median()
        for label, part in metrics.groupby("label", sort=False)
        for name in ("HD95", "ASSD")
    }
    order = metrics.groupby(["scenario", "model"], sort=False).size().index
    return pd.DataFrame(columns).reindex(order)


def lesion_table(metrics: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return what was found of labels that come in pieces, a row per scenario, model and label.

    `metrics` are tidy rows with the columns of `metrics.METRICS`.

    Returns
    -------
    pd.DataFrame
        ``found``, and for each class of `metrics.SIZES_ML`, the share of all true lesions that were found; ``false per
        case``; ``F1``, mean over cases; ``bias (ml)``, mean predicted minus true volume; ``false ml per case``, which
        counts for labels too that the cases are known not to have.
    """
    part = metrics[metrics["label"].isin(labels)]
    groups = part.groupby(["scenario", "model", "label"], sort=False)
    sums, means = groups.sum(numeric_only=True), groups.mean(numeric_only=True)
    found = pd.DataFrame({"found": sums["lesions_found"] / sums["lesions_true"]})
    for size in ("small", "medium", "large"):
        found[size] = sums[f"{size}_found"] / sums[f"{size}_true"]
    found["false per case"], found["F1"] = means["lesions_false"], means["lesion_f1"]
    found["bias (ml)"] = means["volume_pred_ml"] - means["volume_true_ml"]
    return found.assign(**{"false ml per case": means["false_ml"]})
