"""How far apart are the images of two cohorts? (thesis 5, figure 16)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial import distance

from .store import StoredCase

BINS = np.linspace(-2, 2, 41)
"""Edges of the histograms of normalised intensities, as in the thesis's program."""


def intensity_histogram(case: StoredCase, modality: str = "T1") -> np.ndarray:
    """Return the shares of the brain's voxels in each of `BINS`, (40,), summing to 1. Values beyond are left out."""
    image = case.images[case.modalities.index(modality)]
    counts, _ = np.histogram(image[np.asarray(case.mask)], BINS)
    return counts / counts.sum()


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence of two distributions, (KL(P|M) + KL(Q|M)) / 2 with M = (P + Q) / 2, in nats.

    The thesis's eq. 23 is printed otherwise, but its numbers are these.
    """
    return float(distance.jensenshannon(p, q) ** 2)


def divergence_matrix(histograms: Mapping[str, Sequence[np.ndarray]]) -> pd.DataFrame:
    """Return the mean divergence over all pairs of images, within and between cohorts (eq. 24 and 25).

    Parameters
    ----------
    histograms
        Cohort -> one histogram per image.

    Returns
    -------
    pd.DataFrame
        Cohorts x cohorts, symmetric. The diagonal holds pairs of distinct images; NaN for a cohort of one image.
    """
    names = list(histograms)
    matrix = pd.DataFrame(np.nan, index=pd.Index(names, name="cohort"), columns=names)
    for i, a in enumerate(names):
        for b in names[i:]:
            pairs = distance.cdist(np.stack(histograms[a]), np.stack(histograms[b]), "jensenshannon") ** 2
            if a == b:
                pairs = pairs[~np.eye(len(pairs), dtype=bool)]
            matrix.loc[a, b] = matrix.loc[b, a] = pairs.mean() if pairs.size else np.nan
    return matrix


def agreement(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[float, int]:
    """Return Spearman's correlation of two matrices over the cohorts that both have, and the number of entries.

    Each pair of cohorts, and each cohort with itself, counts once. NaN if fewer than three entries are shared.
    """
    names = [name for name in theirs.index if name in ours.index]
    upper = np.triu_indices(len(names))
    a, b = (matrix.loc[names, names].to_numpy()[upper] for matrix in (ours, theirs))
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3:
        return float("nan"), int(both.sum())
    return float(stats.spearmanr(a[both], b[both]).statistic), int(both.sum())
