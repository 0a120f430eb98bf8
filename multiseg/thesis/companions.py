"""The companion studies: what their sources found, as claims, and what they print, beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import pandas as pd
from pydantic import TypeAdapter

from ..base.files import yaml_beside
from ..results.verdicts import Claim, judge
from ..study.study import Study

CLAIMS: Mapping[str, tuple[Claim, ...]] = TypeAdapter(dict[str, tuple[Claim, ...]]).validate_python(
    yaml_beside(__file__, "claims.yaml")
)
"""Notebook -> the claims that it is about, see ``claims.yaml``."""


def ledger(study: Study) -> pd.DataFrame:
    """Return `verdicts.judge` of every companion that a study has runs of, one below the other."""
    return pd.concat([judge(study, claims) for claims in CLAIMS.values()], ignore_index=True)


def published(name: str) -> pd.DataFrame:
    """Return numbers that a companion's source prints, ``reference/NAME.csv``.

    The columns ``where`` and ``note`` say on which page or in which section, and what is odd.
    """
    with resources.files(__package__).joinpath(f"reference/{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""])


def beside(
    published: pd.DataFrame, ours: Mapping[str, pd.DataFrame], at: str, model: str = "ours", what: str | None = None
) -> pd.DataFrame:
    """Return what a source prints with columns of ours more.

    Parameters
    ----------
    published
        From `published`; its column ``ours`` names what of ours belongs to a row, and is left out.
    ours
        New column -> our values; index model, and a column for each text in `what`, or one column.
    at
        The column before which ours go.
    model, what
        Columns of `published` that name the row and the column of our values.
    """
    table = published.drop(columns="ours")
    for name, values in ours.items():
        columns = published[what] if what else [values.columns[0]] * len(published)
        keys = zip(published[model], columns, strict=True)
        found = [values.at[key] if key[0] in values.index and key[1] in values else float("nan") for key in keys]
        table.insert(table.columns.get_loc(at), name, pd.Series(found, dtype=object if what == "ours" else float))
    return table


def beside_dropouts(published: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return what the source prints with ours beside it.

    Parameters
    ----------
    published
        From ``published("dropout_and_phases")``; ``of`` says what of ours belongs to a row: a model, or the
        least of models that are called alike, as in ``least cnn1``.
    found
        From `companion_tables.model_dice`.
    """
    ours = []
    for of in published["of"]:
        how, _, stem = str(of).rpartition(" ")
        alike = {f"{stem}_{tenths}" for tenths in range(6)} - ({f"{stem}_2"} if how == "least but 0.2" else set())
        means = found.loc[[m for m in found.index if m == stem or (how and m in alike)], "mean"]
        if how == "best dropout" and len(means):
            ours.append(int(str(means.idxmax())[-1]) / 10)
        else:
            ours.append(float(means.min()))
    table = published.drop(columns="of")
    table.insert(2, "ours", ours)
    return table


SERIES = {"unet": "U-Net", "unetr": "UNETR", "swin": "SwinUNETR"}


def places(models: tuple[str, ...]) -> tuple[pd.Series, pd.Series]:
    """Return the budget (steps) of each model and the curve that it lies on, by the parts of its name."""
    parts = {model: model.split("_") for model in models}
    known = {m: p for m, p in parts.items() if p[0] in SERIES and len(p) > 1 and p[1].isdigit()}
    steps = pd.Series({m: int(p[1]) for m, p in known.items()}, dtype=float)
    curve = pd.Series({m: SERIES[p[0]] + (", pretrained" if p[2:] else "") for m, p in known.items()}, dtype=object)
    return steps, curve
