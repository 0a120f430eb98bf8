"""Companion B: C. Azorín, M. Cribillés, L. Lázaro and J. M. Román, kidney tumours in KiTS23: what it found, as rules.

The margins were written before the study was run. `MARGIN`: what two versions of a program differ by on large regions
is some 0.02 of Dice; smaller differences are called none. `LESION`: half of what two raters differ by, or less.
"""

from __future__ import annotations

import pandas as pd

from .claims import Claim

NOTEBOOK = "07_losses_and_dimensions"

MARGIN, LESION = 0.02, 0.05

TUMOURS, ONCE = "kidney_tumours", "kidney_tumours_once"
"""Its scenarios: what the findings are about, and what was looked at in one replicate."""

CLAIMS = (
    Claim(
        "B1", "3-D beats 2-D", "mean Dice of the 3-D U-Net minus the 2-D U-Net, both with focal loss and oversampling",
        TUMOURS, (("volumes_focal", "slices_over"),), MARGIN, published=0.2243 - 0.0961,
    ),
    Claim(
        "B2", "Weights per class help the rare tumour", "Dice of tumours, SegResNet, weighted minus plain focal loss",
        TUMOURS, (("segresnet_weighted", "segresnet_focal"),), LESION, ("tumour",), published=0.2344 - 0.1462,
    ),
    Claim(
        "B3", "They cost the kidney", "Dice of kidneys, SegResNet, plain minus weighted focal loss",
        TUMOURS, (("segresnet_focal", "segresnet_weighted"),), MARGIN, ("kidney",), published=0.5778 - 0.5142,
    ),
    Claim(
        "B4", "SegResNet with the class-balanced loss surpasses U-Net and V-Net", "mean Dice minus that of the 3-D "
        "U-Net with Dice + CE, and of the class-balanced V-Net, where that is least", TUMOURS,
        (("segresnet_balanced", "volumes_combined"), ("segresnet_balanced", "vnet_balanced")), MARGIN,
        published=0.2426 - 0.2440,
    ),
    Claim(
        "B5", "Oversampling brings a 2-D network nothing on test cases", "mean Dice without minus with oversampling",
        TUMOURS, (("slices_plain", "slices_over"),), -MARGIN, published=0.0975 - 0.0961,
    ),
    Claim(
        "B6", "Leaving out slices of background is worse", "mean Dice of the 2-D U-Net on all slices minus on those of "
        "organs", TUMOURS, (("slices_plain", "slices_sub"),), MARGIN, published=0.0975 - 0.0843,
    ),
)  # fmt: skip
"""All on kidney, tumour and cyst, never on background. In B4 the source's own table says the contrary of its text."""


def beside(published: pd.DataFrame, dice: pd.DataFrame, iou: pd.DataFrame) -> pd.DataFrame:
    """Return what the source prints with our Dice and IoU in columns more.

    Parameters
    ----------
    published
        From ``claims.published("losses_and_dimensions")``: ``table, network, label, IoU, Dice, ours, note``.
    dice, iou
        Index model; a column per label.
    """

    def found(table: pd.DataFrame) -> list[float]:
        return [
            float(table.at[row.ours, row.label])
            if row.ours in table.index and row.label in table.columns
            else float("nan")
            for row in published.itertuples()
        ]

    table = published.drop(columns="ours")
    at = list(table.columns).index("note")
    table.insert(at, "our IoU", found(iou))
    table.insert(at + 1, "our Dice", found(dice))
    return table
