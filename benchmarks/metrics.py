"""Metrics of one pair of whole 1 mm label maps with four foreground labels."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from monai.metrics import DiceMetric, compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage

from benchmarks.common import Table, scaled, time_all
from benchmarks.volumes import stored_cases, whole_head
from multiseg_core.metrics import confusion, surface_distances

N_CLASSES = 5


def label_maps() -> tuple[np.ndarray, np.ndarray]:
    """Return a true map of a phantom and a plausible prediction: its borders moved by smooth noise."""
    _, target = whole_head(stored_cases()[0])
    target = np.where(target < N_CLASSES, target, 0).astype(np.uint8)
    rng = np.random.default_rng(0)
    shift = [4 * ndimage.zoom(rng.normal(size=(9, 9, 9)), [n / 9 for n in target.shape], order=1) for _ in range(3)]
    grid = np.meshgrid(*[np.arange(n) for n in target.shape], indexing="ij")
    return target, ndimage.map_coordinates(target, [g + s for g, s in zip(grid, shift, strict=True)], order=0)


def one_hot(labels: np.ndarray) -> torch.Tensor:
    """(1, N_CLASSES, X, Y, Z) bool, as MONAI wants it."""
    return torch.from_numpy(np.stack([labels == c for c in range(N_CLASSES)])[None])


def run(table: Table) -> None:
    """Add the rows of this benchmark."""
    target, prediction = label_maps()

    def our_dice() -> list[float]:
        counts = confusion(target, prediction, N_CLASSES, N_CLASSES)
        overlap, sizes = np.diag(counts), counts.sum(0) + counts.sum(1)
        return (2 * overlap / sizes)[1:].tolist()

    metric = DiceMetric(include_background=False, reduction="none")
    ready = one_hot(prediction), one_hot(target)
    dice = {
        "ours": our_dice,
        "MONAI DiceMetric": lambda: metric(*ready)[0].tolist(),
        "MONAI DiceMetric, one-hot included": lambda: metric(one_hot(prediction), one_hot(target))[0].tolist(),
    }
    ms = {name: scaled(s, 1000) for name, s in time_all(dice).items()}
    for peer in list(dice)[1:]:
        table.add("Dice of all labels, 1 mm", peer, ms["ours"], ms[peer], "ms")
    values = [function() for function in dice.values()]
    table.note(
        f"Dice {np.round(values[0], 4).tolist()}; largest difference {np.abs(np.diff(values, axis=0)).max():.1e}"
    )

    def ours() -> np.ndarray:
        return np.array([surface_distances(target == c, prediction == c, 1.0) for c in range(1, N_CLASSES)])

    def monai() -> np.ndarray:
        hd95 = compute_hausdorff_distance(*ready, percentile=95)
        assd = compute_average_surface_distance(*ready, symmetric=True)
        return torch.stack([hd95[0], assd[0]], 1).numpy()

    surfaces = {"ours": ours, "MONAI": monai}
    if importlib.util.find_spec("surface_distance") is not None:
        surfaces["surface-distance"] = lambda: deepmind(target, prediction)
    else:
        table.note("surface-distance is not installed; pip install -e .[bench]")
    seconds = time_all(surfaces, repeats=5)
    for peer in list(surfaces)[1:]:
        table.add("HD95 + ASSD of 4 labels, 1 mm", peer, seconds["ours"], seconds[peer], "s")
    difference = np.abs(ours() - monai()).max()
    table.note(f"HD95, ASSD {ours().round(3).tolist()}; largest difference from MONAI {difference:.1e} mm")


def deepmind(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """HD95 and ASSD of surface-distance, which weighs surface elements by their area and so gives other values."""
    from surface_distance import metrics

    rows = []
    for c in range(1, N_CLASSES):
        found = metrics.compute_surface_distances(target == c, prediction == c, (1, 1, 1))
        rows.append(
            [metrics.compute_robust_hausdorff(found, 95), np.mean(metrics.compute_average_surface_distance(found))]
        )
    return np.array(rows)
