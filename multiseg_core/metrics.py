"""Overlap metrics per case and label, on whole volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .labels import LabelSet

METRICS = ("dice", "jaccard", "sensitivity", "specificity", "volume_true_ml", "volume_pred_ml")


def confusion(target: np.ndarray, prediction: np.ndarray, n_targets: int, n_classes: int) -> np.ndarray:
    """Count voxels by target and predicted class.

    Parameters
    ----------
    target, prediction
        Integer arrays of one shape, below `n_targets` and `n_classes`.

    Returns
    -------
    np.ndarray
        (n_targets, n_classes) int64.
    """
    if target.shape != prediction.shape:
        raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in shape")
    pairs = target.astype(np.int64).ravel() * n_classes + prediction.ravel()
    return np.bincount(pairs, minlength=n_targets * n_classes).reshape(n_targets, n_classes)


def label_metrics(
    target: np.ndarray,
    prediction: np.ndarray,
    sets: Sequence[LabelSet],
    labels: Sequence[str],
    spacing_mm: float,
) -> dict[str, dict[str, float]]:
    """Compute the metrics of every label that the target can show.

    A voxel whose label set holds the label among others (an ignored voxel, say) leaves open whether it belongs to
    the label, and is left out of that label's counts.

    Parameters
    ----------
    target
        (X, Y, Z) positions in `sets`.
    prediction
        (X, Y, Z) class numbers: 0 background, k for ``labels[k - 1]``.
    sets
        The target's label sets.
    labels
        Foreground labels of the prediction.
    spacing_mm
        Isotropic voxel size.

    Returns
    -------
    dict
        label -> metric -> value, for labels that are a set of their own in `sets`. With TP, FP, FN, TN voxel counts:
        ``dice`` 2TP/(2TP+FP+FN) (thesis eq. 10) and ``jaccard`` TP/(TP+FP+FN), NaN if the label is neither in the
        target nor predicted; ``sensitivity`` TP/(TP+FN), NaN if the target lacks the label; ``specificity``
        TN/(TN+FP), NaN if every counted voxel has the label; ``volume_true_ml``, ``volume_pred_ml``.
    """
    counts = confusion(target, prediction, len(sets), 1 + len(labels))
    ml = spacing_mm**3 / 1000
    result = {}
    for c, label in enumerate(labels, start=1):
        positive = np.array([members == {label} for members in sets])
        negative = np.array([label not in members for members in sets])
        if not positive.any():
            continue
        tp, fn = counts[positive, c].sum(), np.delete(counts[positive], c, axis=1).sum()
        fp, tn = counts[negative, c].sum(), np.delete(counts[negative], c, axis=1).sum()
        result[label] = {
            "dice": _ratio(2 * tp, 2 * tp + fp + fn),
            "jaccard": _ratio(tp, tp + fp + fn),
            "sensitivity": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "volume_true_ml": float(tp + fn) * ml,
            "volume_pred_ml": float(tp + fp) * ml,
        }
    return result


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
