"""What metrics say of a few masks of 10 x 10 pixels, small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import directed_hausdorff

from multiseg_core.metrics import label_metrics

SIZE = 10


def square(row: int, column: int, edge: int) -> np.ndarray:
    """Return a mask (10, 10, 1) of a square by its first pixel and its edge."""
    mask = np.zeros((SIZE, SIZE, 1), bool)
    mask[row : row + edge, column : column + edge] = True
    return mask


def examples() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what goes wrong -> truth and prediction, masks of (10, 10, 1)."""
    truth, nothing = square(2, 2, 4), np.zeros((SIZE, SIZE, 1), bool)
    stray = truth.copy()
    stray[9, 9] = True
    return {
        "right": (truth, truth),
        "4 x 4, one pixel aside": (truth, square(2, 3, 4)),
        "2 x 2, one pixel aside": (square(2, 2, 2), square(2, 3, 2)),
        "4 x 4, and a stray pixel": (truth, stray),
        "4 x 4, missed": (truth, nothing),
        "4 x 4, everything predicted": (truth, ~nothing),
        "nothing there, a pixel predicted": (nothing, square(5, 5, 1)),
        "nothing there, nothing predicted": (nothing, nothing),
    }


def measured(truth: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """Return the metrics of a mask against another, with pixels of 1 mm, and what follows from the same counts.

    ``TP, FP, FN, TN`` pixels; ``sensitivity`` TP / (TP + FN), ``specificity`` TN / (TN + FP), ``precision``
    TP / (TP + FP), ``Dice`` 2 TP / (2 TP + FP + FN), ``IoU`` TP / (TP + FP + FN); ``HD``, the largest distance (mm)
    from a mask to the other; ``HD95``, see `metrics.surface_distances`; ``Dice with background``, the mean of the Dice
    of the mask and of all that is not in it.
    """
    tp, fp, fn, tn = (int((a & b).sum()) for a in (prediction, ~prediction) for b in (truth, ~truth))  # in this order
    sets = [frozenset({"background"}), frozenset({"label"})]
    found = label_metrics(truth.astype(np.uint8), prediction.astype(np.uint8), sets, ["label"], 1.0)["label"]
    points = [np.argwhere(mask) for mask in (truth, prediction)]
    both = all(len(p) for p in points)
    farthest = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0]) if both else found["hd95_mm"]
    rest = 2 * tn / (2 * tn + fp + fn) if tn + fp + fn else float("nan")
    precision = tp / (tp + fp) if tp + fp else float("nan")
    counts = {"TP": tp, "FP": fp, "FN": fn, "TN": tn}
    ratios = {"sensitivity": found["sensitivity"], "specificity": found["specificity"], "precision": precision}
    usual = {"Dice": found["dice"], "IoU": found["jaccard"], "HD": farthest, "HD95": found["hd95_mm"]}
    return {**counts, **ratios, **usual, "Dice with background": float(np.mean([found["dice"], rest]))}


def table() -> pd.DataFrame:
    """Return `measured` of all `examples`."""
    rows = {name: measured(*masks) for name, masks in examples().items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("example")
