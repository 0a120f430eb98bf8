"""The numbers that the thesis reports, as data, and the numbers of its figures.

`multiseg_core/reference/README.md` says how exact the data are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

import pandas as pd

COHORT_FIGURES: Mapping[str, int] = {
    "multi_task": 2, "modalities": 4, "anatomy": 13, "wmh": 14, "tumour": 15, "jensen_shannon": 16, "csf_protocols": 33,
}  # fmt: skip
"""Its figures of the cohorts, by what they show."""

_SCENARIO_FIGURES: Mapping[tuple[frozenset[str], str], Mapping[str, int]] = {
    (frozenset({"ibsr"}), "ibsr"): {"dice": 17, "panel": 18, "significance": 19},
    (frozenset({"mrbrains17"}), "mrbrains17"): {"dice": 20, "panel": 21, "significance": 22},
    (frozenset({"brats12"}), "brats12"): {"dice": 23, "significance": 24, "panel": 25},
    (frozenset({"mrbrains13", "mrbrains17"}), "mrbrains18"): {"dice": 26, "significance": 27, "panel": 28},
    (frozenset({"ibsr", "mrbrains17"}), "mrbrains18"): {"dice": 29, "significance": 30, "panel": 31, "naive": 32},
    (frozenset({"brainweb", "brats12"}), "tumorsim"): {"dice": 34, "significance": 35, "panel": 36, "naive": 37},
}


def figure_number(train: Sequence[str], test: str, kind: str) -> int | None:
    """Return the number of a figure of a scenario in the thesis; None if it has no such figure.

    Parameters
    ----------
    train, test
        Names of cohorts of the thesis; the order of the training cohorts does not matter.
    kind
        ``dice`` (box plots), ``significance`` (means on an axis), ``panel`` (slices) or ``naive`` (the naive model on
        its own training cohorts).
    """
    return _SCENARIO_FIGURES.get((frozenset(train), test), {}).get(kind)


def _read(name: str) -> pd.DataFrame:
    with resources.files(__package__).joinpath(f"reference/{name}").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def divergences() -> pd.DataFrame:
    """Return the Jensen-Shannon divergences between its cohorts (figure 16), cohorts x cohorts."""
    return _read("jensen_shannon.csv").set_index("cohort")


def dice(train: Sequence[str], test: str) -> pd.DataFrame:
    """Return the Dice of a scenario: the median per label over cases, and ``mean`` over labels and cases.

    Parameters
    ----------
    train, test
        Names of cohorts of the thesis; the order of the training cohorts does not matter.

    Returns
    -------
    pd.DataFrame
        ``model, label, dice``; empty for a scenario that the thesis does not have. The model is ``all_losses`` where the
        published boxes of the losses cannot be told apart.
    """
    means = _read("dice_means.csv").rename(columns={"mean_dice": "dice"}).assign(label="mean")
    both = pd.concat([_read("dice_medians.csv").rename(columns={"median_dice": "dice"}), means])
    same = both["train"].map(lambda cohorts: sorted(cohorts.split("+")) == sorted(train))
    return both[same & (both["test"] == test)][["model", "label", "dice"]].reset_index(drop=True)
