"""Companion D: S. A. Avendaño García, cardiovascular structures by CNNs: what it found, as rules.

The margins were written before the study was run. `MARGIN`: what two versions of a program differ by on large regions
is some 0.02 of Dice; smaller differences are called none. `LESION`: half of what two raters differ by, or less.
"""

from __future__ import annotations

import pandas as pd

from .claims import Claim

NOTEBOOK = "09_separable_convolutions"

MARGIN, LESION = 0.02, 0.05

SLICES, SIZES = "three_classes", "anatomy_wmh_sizes"
"""Its scenarios: the source's two networks; networks of several sizes for one of the thesis's; larger ones, once."""

TISSUES, LESIONS = ("csf", "gm", "wm"), ("wmh",)

CLAIMS = (
    Claim(
        "D1", "Separable convolutions are as good as ordinary ones", "mean Dice of U-Net 2 minus U-Net 1", SLICES,
        (("unet_2", "unet_1"),), -MARGIN, published=0.793 / 2 + 0.751 / 2 - 0.748 / 2 - 0.747 / 2,
    ),
    Claim(
        "D2", "They are better", "mean Dice of U-Net 2 minus U-Net 1", SLICES, (("unet_2", "unet_1"),), MARGIN,
        published=0.793 / 2 + 0.751 / 2 - 0.748 / 2 - 0.747 / 2,
    ),
    Claim(
        "D3", "The one network of a thesis scenario may be separable: tissues", "separable minus ordinary, at 4, 8 and "
        "16 filters, where that is least", SIZES,
        tuple((f"filters_{n}_separable", f"filters_{n}") for n in (4, 8, 16)), -MARGIN, TISSUES,
    ),
    Claim(
        "D4", "It may be separable: lesions", "separable minus ordinary, at 4, 8 and 16 filters, where that is least",
        SIZES, tuple((f"filters_{n}_separable", f"filters_{n}") for n in (4, 8, 16)), -LESION, LESIONS,
    ),
    Claim(
        "D5", "It may have 4 filters instead of 16: tissues", "4 filters minus 16, ordinary convolutions", SIZES,
        (("filters_4", "filters_16"),), -MARGIN, TISSUES,
    ),
    Claim(
        "D6", "It may have 4 filters instead of 16: lesions", "4 filters minus 16, ordinary convolutions", SIZES,
        (("filters_4", "filters_16"),), -LESION, LESIONS,
    ),
)  # fmt: skip
"""D1 and D2 are the source's, on foreground classes alone; D3 to D6 ask it of the thesis."""


def beside(published: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return what the source prints with ours in a column more.

    Parameters
    ----------
    published
        From ``claims.published("separable_convolutions")``: ``model, what, published, where, note``.
    found
        Index model; columns called as in ``what``.
    """
    ours = [
        found.loc[row.model, row.ours] if row.model in found.index and row.ours in found.columns else float("nan")
        for row in published.itertuples()
    ]
    table = published.drop(columns="ours")
    table.insert(3, "ours", pd.Series(ours, dtype=object))
    return table
