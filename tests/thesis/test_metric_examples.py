"""The metrics of masks of 10 x 10 pixels, by hand."""

import math

import numpy as np
import pytest

from multiseg.thesis import metric_examples


def test_by_hand() -> None:
    table = metric_examples.table()
    assert (table[["TP", "FP", "FN", "TN"]].sum(axis=1) == 100).all()
    names = ["TP", "FP", "FN", "TN", "sensitivity", "specificity", "precision", "Dice", "IoU", "HD", "HD95"]
    expected = {
        "4 x 4, one pixel aside": (12, 4, 4, 80, 12 / 16, 80 / 84, 12 / 16, 24 / 32, 12 / 20, 1, 1),
        "2 x 2, one pixel aside": (2, 2, 2, 94, 2 / 4, 94 / 96, 2 / 4, 4 / 8, 2 / 6, 1, 1),
        "4 x 4, and a stray pixel": (
            16, 1, 0, 83, 1, 83 / 84, 16 / 17, 32 / 33, 16 / 17, math.sqrt(32), 0.2 * math.sqrt(32),
        ),
        "4 x 4, missed": (0, 0, 16, 84, 0, 1, math.nan, 0, 0, math.inf, math.inf),
        "4 x 4, everything predicted": (16, 84, 0, 0, 1, 0, 0.16, 32 / 116, 0.16, math.sqrt(32), None),
        "nothing there, nothing predicted": (0, 0, 0, 100, math.nan, 1, *[math.nan] * 5),
    }  # fmt: skip
    for example, values in expected.items():
        for name, value in zip(names, values, strict=True):
            if value is not None:
                assert table.loc[example, name] == pytest.approx(value, nan_ok=True), (example, name)
    assert table.loc["4 x 4, missed", "Dice with background"] == pytest.approx((0 + 2 * 84 / (2 * 84 + 16)) / 2)
    iou, dice = table["IoU"], table["Dice"]
    assert np.allclose(iou, dice / (2 - dice), equal_nan=True) and not (iou > dice).any()
