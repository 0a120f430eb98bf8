"""Overlap and surface metrics per case and label, on whole volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import KDTree

from .labels import LabelSet

METRICS = (
    "dice", "jaccard", "sensitivity", "specificity", "volume_true_ml", "volume_pred_ml", "false_ml", "hd95_mm",
    "assd_mm", "lesions_true", "lesions_found", "lesions_predicted", "lesions_false", "lesion_f1", "small_true",
    "small_found", "medium_true", "medium_found", "large_true", "large_found",
)  # fmt: skip

SIZES_ML = {"small": 0.05, "medium": 0.5, "large": float("inf")}
"""Classes of lesions by volume: up to this, and above the limit before."""


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
    n_pairs = n_targets * n_classes
    dtype: Any = np.uint8 if n_pairs <= 256 else np.int64  # bytes where they suffice: reading is what takes time
    pairs = target.astype(dtype) * dtype(n_classes) + prediction.astype(dtype)
    counts = torch.bincount(torch.from_numpy(pairs.ravel()), minlength=n_pairs)
    return counts.numpy().reshape(n_targets, n_classes)


Spacing = float | Sequence[float]
"""Voxel size (mm): one number, or one per axis."""


def surface_distances(target: np.ndarray, prediction: np.ndarray, spacing_mm: Spacing) -> tuple[float, float]:
    """Compute the 95th percentile of the Hausdorff distance and the average symmetric surface distance.

    The surface of a mask are its voxels with a face neighbour outside, the outside of the array included. From every
    surface voxel of one mask, the distance to the nearest surface voxel of the other is taken, between centres.
    HD95 is the larger of the two directions' 95th percentiles (with linear interpolation), ASSD the mean over
    the distances of both directions together. Both are the definitions of MONAI's `compute_hausdorff_distance` and
    `compute_average_surface_distance(symmetric=True)`; other libraries differ.

    Parameters
    ----------
    target, prediction
        (X, Y, Z) bool.
    spacing_mm
        Voxel size, one or three.

    Returns
    -------
    hd95_mm, assd_mm
        NaN if both masks are empty, infinite if one is.
    """
    if not (target.any() and prediction.any()):
        undefined = float("inf") if target.any() or prediction.any() else float("nan")
        return undefined, undefined
    box = ndimage.find_objects((target | prediction).view(np.uint8))[0]
    a, b = _surface(target[box]), _surface(prediction[box])
    sizes = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), 3)
    unit = float(sizes[0])  # distances are measured in voxels where they are isotropic, which is exact more often
    distances = [_nearest(a, b, sizes / unit), _nearest(b, a, sizes / unit)]
    hd95 = max(float(np.quantile(d, 0.95)) for d in distances)
    return hd95 * unit, float(np.concatenate(distances).mean()) * unit


def _surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask that have a face neighbour outside, as a mask."""
    inner = np.pad(mask, 1)
    core = inner[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for step in (0, 2):
            at = [slice(1, -1)] * 3
            at[axis] = slice(step, step + mask.shape[axis])
            core &= inner[tuple(at)]
    return mask & ~core


def _nearest(of: np.ndarray, to: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the distance from each voxel of one mask to the nearest of another, in the unit of the voxel sizes."""
    apart = np.argwhere(of & ~to)  # the others are at distance 0, and most are in a good segmentation
    distances = np.zeros(int(of.sum()))
    if len(apart):
        tree = KDTree(np.argwhere(to) * sizes, leafsize=32, balanced_tree=False)
        distances[: len(apart)] = tree.query(apart * sizes, workers=torch.get_num_threads())[0]
    return distances


def label_metrics(
    target: np.ndarray,
    prediction: np.ndarray,
    sets: Sequence[LabelSet],
    labels: Sequence[str],
    spacing_mm: Spacing,
    voxel_ml: float | None = None,
) -> dict[str, dict[str, float]]:
    """Compute the metrics of every label that the target can show, and of those that it is known not to have.

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
        Voxel size, one or three.
    voxel_ml
        Volume of a voxel; the product of its sizes by default, as where axes meet at right angles.

    Returns
    -------
    dict
        label -> metric -> value, for labels that are a set of their own in `sets` or that no set holds. With TP, FP,
        FN, TN voxel counts:
        ``dice`` 2TP/(2TP+FP+FN) (thesis eq. 10) and ``jaccard`` TP/(TP+FP+FN), NaN if the label is neither in the
        target nor predicted, or if no set holds it; ``sensitivity`` TP/(TP+FN), NaN if the target lacks the label;
        ``specificity`` TN/(TN+FP), NaN if every counted voxel has the label; ``volume_true_ml``, ``volume_pred_ml`` and
        ``false_ml`` (FP); ``hd95_mm`` and ``assd_mm`` of `surface_distances`; and what `lesion_counts` returns.
    """
    counts = confusion(target, prediction, len(sets), 1 + len(labels))
    ml = float(np.prod(np.broadcast_to(spacing_mm, 3))) / 1000 if voxel_ml is None else voxel_ml
    result = {}
    for c, label in enumerate(labels, start=1):
        positive = np.array([members == {label} for members in sets])
        negative = np.array([label not in members for members in sets])
        if not (positive | negative).all() and not positive.any():
            continue  # it may hide in the background: nobody knows
        tp, fn = counts[positive, c].sum(), np.delete(counts[positive], c, axis=1).sum()
        fp, tn = counts[negative, c].sum(), np.delete(counts[negative], c, axis=1).sum()
        union = tp + fp + fn if positive.any() else 0  # of what cannot be there, only the false part says something
        result[label] = {
            "dice": _ratio(2 * tp, union + tp),
            "jaccard": _ratio(tp, union),
            "sensitivity": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "volume_true_ml": float(tp + fn) * ml,
            "volume_pred_ml": float(tp + fp) * ml,
            "false_ml": float(fp) * ml,
        }
        surely = np.isin(target, np.flatnonzero(positive))
        counted = positive | negative
        predicted = prediction == c
        if not counted.all():
            predicted &= counted[target]
        result[label]["hd95_mm"], result[label]["assd_mm"] = surface_distances(surely, predicted, spacing_mm)
        result[label].update(lesion_counts(surely, predicted, ml))
    return result


def lesion_counts(target: np.ndarray, prediction: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Count the pieces of a label: which of the true ones were found, and which of the predicted ones are false.

    A piece is made of voxels that share a corner at least. A true piece is *found* if a voxel of it is predicted, a
    predicted one is *false* if no voxel of it is true: the rule of the WMH challenge 2017 (Kuijf et al. 2019).

    Parameters
    ----------
    target, prediction
        (X, Y, Z) bool.
    voxel_ml
        Volume of a voxel.

    Returns
    -------
    dict
        ``lesions_true``, ``lesions_found``, ``lesions_predicted``, ``lesions_false``; ``lesion_f1``, the harmonic mean
        of found / true and (predicted - false) / predicted, 0 if nothing is found and NaN without any piece; and of
        the true pieces of each class of `SIZES_ML`, ``small_true``, ``small_found`` and so on.
    """
    counts = {"true": 0, "found": 0, "predicted": 0, "false": 0}
    by_size = dict.fromkeys(SIZES_ML, (0, 0))
    either = target | prediction
    if either.any():
        box = ndimage.find_objects(either.view(np.uint8))[0]
        both = target[box] & prediction[box]
        volume, found = _pieces(target[box], both)
        predicted, real = _pieces(prediction[box], both)
        counts = {
            "true": len(volume), "found": int(found.sum()),
            "predicted": len(predicted), "false": int((~real).sum()),
        }  # fmt: skip
        of = np.digitize(volume * voxel_ml, list(SIZES_ML.values())[:-1], right=True)
        by_size = {n: (int((of == k).sum()), int(found[of == k].sum())) for k, n in enumerate(SIZES_ML)}
    recall = _ratio(counts["found"], counts["true"])
    precision = _ratio(counts["predicted"] - counts["false"], counts["predicted"])
    f1 = 2 * recall * precision / (recall + precision) if counts["found"] else 0.0
    sizes = {
        f"{name}_{what}": float(n)
        for name, counted in by_size.items()
        for what, n in zip(("true", "found"), counted, strict=True)
    }
    named = {f"lesions_{name}": float(n) for name, n in counts.items()}
    return {**named, "lesion_f1": f1 if either.any() else float("nan"), **sizes}


def _pieces(mask: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of each piece of a mask, and whether one of them is hit."""
    pieces, n = ndimage.label(mask, np.ones((3, 3, 3)))
    voxels = np.bincount(pieces.ravel(), minlength=n + 1)[1:]
    return voxels, np.bincount(pieces[hit], minlength=n + 1)[1:] > 0


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
