"""Companion A: I. Penedo, brain tumours with CNNs (Universidad Internacional Menendez Pelayo): what it found, as rules.

The margins were written before the study was run. `MARGIN`: whole tumours are large, and what two versions of a program
differ by on large regions is some 0.02 of Dice; smaller differences are called none.
"""

from __future__ import annotations

import pandas as pd

from .claims import Claim

NOTEBOOK = "06_dropout_and_phases"

MARGIN = 0.02

BORDER_MM = 0.5
"""A mean distance of surfaces that is less by this much is a better border: a quarter of a voxel of 2 mm."""

DROPOUTS = (0, 1, 2, 3, 4, 5)
"""Tenths, as in the names of models: cnn1_3 drops .3."""

_AT = "whole_tumour"


def _pairs(first: str, second: str) -> tuple[tuple[str, str], ...]:
    return tuple((first.format(d), second.format(d)) for d in DROPOUTS)


CLAIMS = (
    Claim(
        "A1", "CNN1 exceeds a Dice of 0.60 at every dropout but 0.2", "its Dice where that is least, against 0.60",
        _AT, tuple((f"cnn1_{d}", None) for d in DROPOUTS if d != 2), 0.60,
    ),
    Claim(
        "A2", "CNN1 is worse at a dropout of 0.2 than at 0.1 and at 0.3", "what 0.2 loses, at least", _AT,
        (("cnn1_1", "cnn1_2"), ("cnn1_3", "cnn1_2")), MARGIN,
    ),
    Claim("A3", "More dropout makes CNN1 worse", "Dice at 0 minus that at 0.5", _AT, (("cnn1_0", "cnn1_5"),), MARGIN),
    Claim(
        "A4", "CNN2 exceeds a Dice of 0.90 at every dropout", "its Dice where that is least, against 0.90", _AT,
        tuple((f"cnn2_{d}", None) for d in DROPOUTS), 0.90,
    ),
    Claim(
        "A5", "No dropout is better than none, for either network", "Dice at 0 minus that at another dropout, at least",
        _AT, tuple((f"{n}_0", f"{n}_{d}") for n in ("cnn1", "cnn2") for d in DROPOUTS[1:]), -MARGIN,
    ),
    Claim(
        "A6", "CNN2 is better than CNN1 at every dropout", "the difference where that is least", _AT,
        _pairs("cnn2_{}", "cnn1_{}"), MARGIN,
    ),
    Claim("A7", "25 epochs are worse than 50", "CNN2, 50 minus 25", _AT, (("cnn2_0", "cnn2_25_epochs"),), MARGIN),
    Claim(
        "A8", "CNN2 after 25 epochs is better than CNN1 after 50", "the difference", _AT,
        (("cnn2_25_epochs", "cnn1_0"),), MARGIN,
    ),
    Claim(
        "A9", "CNN2 draws borders that CNN1 misses", "mean distance of surfaces (mm), CNN1 minus CNN2", _AT,
        (("cnn2_0", "cnn1_0"),), BORDER_MM, value="assd_mm", less_is_better=True,
    ),
    Claim(
        "A10", "A second phase, with the first layers frozen and a hundredth of the rate, is better than going on",
        "CNN2, two phases minus one of as many epochs", _AT, (("cnn2_0", "cnn2_one_phase"),), MARGIN,
    ),
)  # fmt: skip
"""The source measures neither borders (A9 is read off one picture) nor two phases against one (A10 is its method)."""


def beside(published: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return what the source prints with ours beside it.

    Parameters
    ----------
    published
        From ``claims.published("dropout_and_phases")``; ``of`` says what of ours belongs to a row: a model, or the
        least of models that are called alike, as in ``least cnn1``.
    found
        From `reporting.companions.model_dice`.
    """
    ours = []
    for of in published["of"]:
        how, _, stem = str(of).rpartition(" ")
        part = found.loc[[m for m in found.index if m == stem or (how and m in {f"{stem}_{d}" for d in DROPOUTS})]]
        if how == "least but 0.2":
            part = part.drop(index=f"{stem}_2", errors="ignore")
        best = str(part["mean"].idxmax()) if len(part) else ""
        if how == "best dropout":
            ours.append(int(best[-1]) / 10 if best else float("nan"))
        else:
            ours.append(float(part["mean"].min()) if len(part) else float("nan"))
    table = published.drop(columns="of")
    table.insert(2, "ours", ours)
    return table
