"""Does uncertainty find the errors? Voxels and wrong voxels, counted by how uncertain the networks are."""

from __future__ import annotations

import numpy as np
import pandas as pd

EDGES = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 61)])
"""Between bins of uncertainty; most voxels are nearly certain."""

CHECKED = 0.05
"""Part of the voxels that somebody could look at."""


def allowed_classes(sets: list[frozenset[str]], labels: tuple[str, ...], background: str) -> np.ndarray:
    """Return which classes (background, then labels) each label set allows, (sets, classes) bool."""
    return np.array([[name in members for name in (background, *labels)] for members in sets], dtype=bool)


def count_by_uncertainty(uncertainty: np.ndarray, wrong: np.ndarray, inside: np.ndarray) -> pd.DataFrame:
    """Count voxels inside a mask, (X, Y, Z) bool, by uncertainty, (X, Y, Z) float from 0 to 1.

    Returns ``bin``, ``voxels``, ``wrong``: a row per bin of `EDGES` that has voxels.
    """
    where = np.searchsorted(EDGES, uncertainty[inside], side="right").clip(1, len(EDGES) - 1) - 1
    voxels = np.bincount(where, minlength=len(EDGES) - 1)
    errors = np.bincount(where[wrong[inside]], minlength=len(EDGES) - 1)
    table = pd.DataFrame({"bin": np.arange(len(voxels)), "voxels": voxels, "wrong": errors})
    return table[table["voxels"] > 0].reset_index(drop=True)


def reliability(counts: pd.DataFrame) -> pd.DataFrame:
    """Return how well uncertainty finds errors, per scenario and model, all test voxels together.

    From rows of `count_by_uncertainty` with ``scenario`` and ``model``. ``error rate``: part of the voxels that are
    wrong. ``AUROC``: how often a wrong voxel is more uncertain than a right one, 0.5 by chance. ``found``: part of the
    errors among the `CHECKED` most uncertain voxels. NaN without errors.
    """
    rows = {}
    curves = dict(list(errors_found(counts).groupby(["scenario", "model"], sort=False)))
    for place, part in counts.groupby(["scenario", "model"], sort=False):
        wrong, right = _by_uncertainty(part)
        n_wrong, n_right = wrong.sum(), right.sum()
        auroc = found = np.nan
        if n_wrong > 0 and n_right > 0:
            before = wrong.cumsum() - wrong  # errors that are more uncertain
            auroc = float((right * (before + wrong / 2)).sum() / (n_wrong * n_right))
            found = float(np.interp(CHECKED, curves[place]["looked_at"], curves[place]["found"]))
        rows[place] = {"error rate": n_wrong / (n_wrong + n_right), "AUROC": auroc, "found": found}
    table = pd.DataFrame(rows, index=["error rate", "AUROC", "found"]).T
    return table.rename_axis(["scenario", "model"]) if len(table) else table


def errors_found(counts: pd.DataFrame) -> pd.DataFrame:
    """Return what part of the errors somebody finds who looks at the most uncertain voxels first.

    From the rows that `reliability` takes. ``scenario, model, looked_at, found``: parts of all voxels and of all
    errors, 0 to 1, a row per bin and one at 0, and no rows of a model without errors; ``best``: what would be found if
    every error were more uncertain than every right voxel.
    """
    curves = [pd.DataFrame(columns=["scenario", "model", "looked_at", "found", "best"])]
    for (scenario, model), part in counts.groupby(["scenario", "model"], sort=False):
        wrong, right = _by_uncertainty(part)
        if wrong.sum() > 0:
            seen = np.concatenate([[0.0], (wrong + right).cumsum()]) / (wrong + right).sum()
            found = np.concatenate([[0.0], wrong.cumsum()]) / wrong.sum()
            best = np.minimum(seen * (wrong + right).sum() / wrong.sum(), 1)
            curve = pd.DataFrame({"looked_at": seen, "found": found, "best": best})
            curves.append(curve.assign(scenario=scenario, model=model))
    return pd.concat(curves[1:] or curves, ignore_index=True)


def _by_uncertainty(counts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return wrong and right voxels per bin, all cases together, the most uncertain bin first."""
    by_bin = counts.groupby("bin")[["voxels", "wrong"]].sum().sort_index(ascending=False)
    return by_bin["wrong"].to_numpy(float), (by_bin["voxels"] - by_bin["wrong"]).to_numpy(float)
