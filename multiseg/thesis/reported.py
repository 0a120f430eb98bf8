"""The numbers that the thesis reports, as data, and ours beside them.

`multiseg/thesis/reference/README.md` says how exact the data are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.cohorts import Cohort
from ..results import domain_distance
from ..results.cohort_tables import Explored
from ..study.scenarios import Scenario

ANATOMY = ("csf", "gm", "wm")
"""The labels of anatomical cohorts."""

LABELS = frozenset({*ANATOMY, "wmh", "oedema", "tumour"})
"""All labels."""


_FIRST = "modalities and labels of the first case."

COHORT_GROUPS: Mapping[tuple[str, ...], tuple[str, int, str]] = {
    ANATOMY: ("anatomy", 13, f"Anatomical cohorts: {_FIRST}"),
    ("wmh",): ("wmh", 14, f"Cohorts of white matter hyperintensities: {_FIRST}"),
    ("oedema", "tumour"): ("tumour", 15, f"Tumour cohorts: {_FIRST}"),
}
"""Labels that cohorts draw -> the figure that shows them: name, number and caption."""

SCENARIOS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"ibsr"}), "ibsr"),
    (frozenset({"mrbrains17"}), "mrbrains17"),
    (frozenset({"brats12"}), "brats12"),
    (frozenset({"mrbrains13", "mrbrains17"}), "mrbrains18"),
    (frozenset({"ibsr", "mrbrains17"}), "mrbrains18"),
    (frozenset({"brainweb", "brats12"}), "tumorsim"),
)
"""Its scenarios in the order in which it reports them: training cohorts, test cohort."""


def scenario_place(train: Sequence[str], test: str) -> int | None:
    """Return the place of a scenario in `SCENARIOS`, from 0; None for one that the thesis does not have.

    `train` and `test` are names of cohorts of the thesis; the order of the training cohorts does not matter.
    """
    scenario = (frozenset(train), test)
    return SCENARIOS.index(scenario) if scenario in SCENARIOS else None


def figure_number(train: Sequence[str], test: str, numbers: int | tuple[int | None, ...] | None) -> int | None:
    """Return which of a figure's numbers, one for each of `SCENARIOS`, is a scenario's; None if it has none."""
    place = scenario_place(train, test)
    return numbers[place] if isinstance(numbers, tuple) and place is not None else None


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(Path(__file__).parent / "reference" / name)


def divergences() -> pd.DataFrame:
    """Return the Jensen-Shannon divergences between its cohorts (figure 16), cohorts x cohorts."""
    return _read("jensen_shannon.csv").set_index("cohort")


def dice(train: Sequence[str], test: str) -> pd.DataFrame:
    """Return the Dice of a scenario: the median per label over cases, and ``mean`` over labels and cases.

    ``model, label, dice``; empty for a scenario that the thesis does not have, see `scenario_place`. The model is
    ``all_losses`` where the published boxes of the losses cannot be told apart.
    """
    means = _read("dice_means.csv").rename(columns={"mean_dice": "dice"}).assign(label="mean")
    both = pd.concat([_read("dice_medians.csv").rename(columns={"median_dice": "dice"}), means])
    same = both["train"].map(lambda cohorts: sorted(cohorts.split("+")) == sorted(train))
    return both[same & (both["test"] == test)][["model", "label", "dice"]].reset_index(drop=True)


# -- ours beside them ----------------------------------------------------------------------------------------------


def beside_thesis(scenario: Scenario, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the median Dice of each label over cases, and the mean over all, ours beside the thesis's.

    One row per model; NaN where the thesis gives no number. Empty for a scenario that it does not have. Rows of other
    scenarios in `metrics` are left out.
    """
    theirs = dice(*scenario.place)
    if theirs.empty:
        return pd.DataFrame()
    part = metrics[metrics["scenario"] == scenario.name]
    per_case = part.groupby(["model", "label", "case"], sort=False)["dice"].mean()
    ours = per_case.groupby(["model", "label"], sort=False).median().unstack()
    ours["mean"] = part.groupby("model")["dice"].mean()
    models = list(dict.fromkeys(part["model"]))
    columns: dict[tuple[str, str], pd.Series] = {}
    for label in [*scenario.labels, "mean"]:
        if label not in ours:
            continue
        columns[label, "ours"] = ours[label].reindex(models)
        known = theirs[theirs["label"] == label].set_index("model")["dice"]
        if len(known):
            values = [known.get(model, known.get("all_losses", np.nan)) for model in models]
            columns[label, "thesis"] = pd.Series(values, index=models)
    return pd.DataFrame(columns).rename_axis("model")


def divergences_beside_thesis(
    cohorts: Mapping[str, Cohort], explored: Explored
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the divergences between cohorts, and the thesis's for those that it has (None for fewer than two).

    Both are square, with the cohorts in the thesis's order, then the others. `explored` are stored cases of `cohorts`.
    """
    reference = divergences()
    known = {name: cohorts[name].imitates for name in explored}
    order = [name for theirs in reference.index for name in known if known[name] == theirs]
    ours = domain_distance.divergences(explored, order)
    order = [name for name in order if name in ours.index]
    if len(order) < 2:
        return ours, None
    theirs = reference.loc[[known[n] for n in order], [known[n] for n in order]]
    theirs.index, theirs.columns = pd.Index(order, name="cohort"), pd.Index(order)
    return ours, theirs
