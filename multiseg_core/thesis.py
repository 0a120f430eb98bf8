"""The numbers that the thesis reports, as data; `multiseg_core/reference/README.md` says how exact they are."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import pandas as pd


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
