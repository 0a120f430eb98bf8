"""The means and the test of the thesis. `case_statistics` has the sound comparison, with the case as its unit.

All functions take the tidy rows of a study's ``metrics.csv``: ``scenario, model, seed, cohort, case, label`` and Dice.

Undefined values follow one rule here, in `case_statistics`, in the ledger of findings and in ``multiseg compare``. The
Dice of a label is undefined (NaN) in a case where it is neither in the target nor predicted. Such a value is left out,
neither 0 nor 1. Where models are compared, a value that one of them lacks (for the same seed, case and label) is left
out for all that are compared: both models of a pair, all models in a ranking. The one exception is `thesis_test`, which
counts an undefined Dice as 0, as the thesis did.
"""

from __future__ import annotations

import pandas as pd

KEY = ("scenario", "model", "seed", "cohort", "case", "label")


def mean_dice(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice by scenario and model: one column per label and ``mean`` over labels and cases.

    Scenarios, models and labels stand in the order in which they come. Each model's mean is over the values that it
    has, so models with gaps are compared by `case_statistics` only.
    """
    rows = ["scenario", "model"]
    table = metrics.groupby([*rows, "label"])["dice"].mean().unstack("label")
    table["mean"] = metrics.groupby(rows)["dice"].mean()
    order = pd.MultiIndex.from_frame(metrics[rows].drop_duplicates())
    return table.loc[order, [*dict.fromkeys(metrics["label"]), "mean"]]
