"""Companion C: F. Guerrero Aranda, segmentation for clinical tools with MONAI: what it found, as rules.

The margin was written before the study was run: what two versions of a program differ by on large regions is some 0.02
of Dice; smaller differences are called none. The source changes architecture and initial weights together (UNETR from
scratch against a pretrained SwinUNETR); here each changes alone.
"""

from __future__ import annotations

import pandas as pd

from .claims import Claim

NOTEBOOK = "08_transformers_and_pretraining"

MARGIN = 0.02

ORGANS = "abdominal_organs"
"""Its scenario."""

STEPS = (10, 50, 125)
"""The source's 2,000, 10,000 and 25,000 iterations, scaled down by 200."""

CLAIMS = (
    Claim(
        "C1", "More iterations help, up to the last budget", "mean Dice of UNETR, each budget minus the one before, "
        "where that is least", ORGANS, (("unetr_50", "unetr_10"), ("unetr_125", "unetr_50")), MARGIN,
        published=0.7839 - 0.5451,
    ),
    Claim(
        "C2", "Pretraining helps where training is short", "mean Dice pretrained minus from scratch at the first "
        "budget, same architecture, UNETR and SwinUNETR, where that is least", ORGANS,
        (("unetr_10_pretrained", "unetr_10"), ("swin_10_pretrained", "swin_10")), MARGIN, published=0.5575 - 0.1323,
    ),
    Claim(
        "C3", "It still helps where training is long", "the same at the last budget", ORGANS,
        (("unetr_125_pretrained", "unetr_125"), ("swin_125_pretrained", "swin_125")), MARGIN, published=0.8430 - 0.7839,
    ),
    Claim(
        "C4", "SwinUNETR is better than UNETR", "mean Dice at the last budget, both from scratch", ORGANS,
        (("swin_125", "unetr_125"),), MARGIN, published=0.8430 - 0.7839,
    ),
    Claim(
        "C5", "Transformers are no worse than a U-Net of like cost", "mean Dice minus that of the U-Net at the last "
        "budget, UNETR and SwinUNETR, where that is least", ORGANS,
        (("unetr_125", "unet_125"), ("swin_125", "unet_125")), -MARGIN,
    ),
)  # fmt: skip
"""C2, C3 and C4 share what the source prints: it has one comparison for all three. C5 is from its survey of networks,
and was not tried there."""

SERIES = {"unet": "U-Net", "unetr": "UNETR", "swin": "SwinUNETR"}


def places(models: tuple[str, ...]) -> tuple[pd.Series, pd.Series]:
    """Return the budget (steps) of each model and the curve that it lies on, by the parts of its name."""
    parts = {model: model.split("_") for model in models}
    known = {m: p for m, p in parts.items() if p[0] in SERIES and len(p) > 1 and p[1].isdigit()}
    steps = pd.Series({m: int(p[1]) for m, p in known.items()}, dtype=float)
    curve = pd.Series({m: SERIES[p[0]] + (", pretrained" if p[2:] else "") for m, p in known.items()}, dtype=object)
    return steps, curve


def beside(published: pd.DataFrame, found: pd.Series) -> pd.DataFrame:
    """Return what the source prints with our mean Dice, by the models under ``ours``, in a column more."""
    table = published.drop(columns="ours")
    table.insert(3, "our Dice", [float(found.get(name, float("nan"))) for name in published["ours"]])
    return table
