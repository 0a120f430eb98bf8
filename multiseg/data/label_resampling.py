"""Labels on another grid: nothing moves, and small lesions keep their volume.

Each voxel of the target holds shares of labels; who gets the voxel is chosen so that every label, and every small piece
of it, ends with the volume that it had. A majority per voxel, which is what a smoothed and interpolated label gives,
eats whatever is convex and small: of balls of 2 mm radius, brought from 1 to 2 mm, it leaves half of the volume
(`resample_gaussian`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from multiseg_core.grids import FloatArray, Grid, field_of_view, is_rotated, same_grid
from multiseg_core.labels import LabelSet, is_relevant
from multiseg_core.resampling import TIE, along, gaussian_sigmas, overlaps, reached, sampled, turned

if TYPE_CHECKING:
    import pandas as pd

SMALL = 30
"""Pieces of a label that have fewer voxels than this on the target keep their volume one by one."""

_TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels of one piece share a corner at least."""


def resample_nearest(positions: np.ndarray, source: Grid, to: Grid) -> np.ndarray:
    """Bring labels to another grid by nearest neighbour, ``to.shape`` uint8; 0 beyond `source`.

    A centre half-way between two voxels takes either by chance, the same at every call: were it always the same one,
    labels would lie up to half a voxel beside their image.
    """
    if same_grid(source, to):
        return positions
    either, other = (sampled(positions, source, to, 0, shift) for shift in (-TIE, TIE))
    result = np.where(np.random.default_rng(0).random(to.shape) < 0.5, either, other)
    result[~field_of_view(source, to)] = 0
    return result


def resample_gaussian(positions: np.ndarray, source: Grid, to: Grid) -> np.ndarray:
    """Bring labels to another grid with a Gaussian per label; the largest value wins (thesis 3.5).

    As `resample_labels`, but volumes are not kept: on a coarser grid small lesions shrink or vanish.
    """
    if same_grid(source, to):
        return positions
    rng = np.random.default_rng(0)
    best = np.zeros(to.shape, dtype=np.float32)
    result = np.zeros(to.shape, dtype=np.uint8)
    for label in np.flatnonzero(np.bincount(positions.ravel())):  # one at a time, which spares memory
        value = _smoothed(positions == label, source, to, "nearest")
        value += TIE**2 * rng.random(to.shape, dtype=np.float32)
        better = value > best
        result[better] = label
        best[better] = value[better]
    result[~field_of_view(source, to)] = 0
    return result


def resample_labels(positions: np.ndarray, source: Grid, to: Grid) -> np.ndarray:
    """Bring labels to another grid so that each, and each small piece of it, keeps its volume and its place.

    `positions` are (X, Y, Z) uint8 on `source`, 0 beyond it; ``to.shape`` uint8 is returned.

    1. A label's share of a voxel is the part of it that the label covers; between rotated grids, a Gaussian as wide as
       the voxel, see `gaussian_sigmas`.
    2. Pieces below `SMALL` voxels come first. Each takes as many voxels as it has volume, those where its share is
       largest. What is left of a voxel is carried to the next piece of that label, so that of eight single voxels of
       1 mm one lives on as one of 2 mm.
    3. All else competes. A label wins a voxel by its share plus a bonus, one number per label, such that every label
       gets as many voxels as it has volume. Between equal shares the surrounding decides, and then chance, the same at
       every call: half-way between two slices runs the half-way contour.
    """
    if same_grid(source, to):
        return positions
    result = np.zeros(to.shape, dtype=np.uint8)
    if not positions.any():
        return result
    # smoothed labels reach a little beyond what is drawn
    margin = 1 + int(np.ceil(3 * gaussian_sigmas(source, to).max())) if is_rotated(source, to) else 0
    drawn = ndimage.find_objects((positions > 0).astype(np.uint8))[0]
    box = tuple(slice(s.start - margin, s.stop + margin) for s in drawn)
    positions, source = np.pad(positions[drawn], margin), source.cropped(box)
    window = reached(source, to)
    if any(s.stop <= s.start for s in window):
        return result
    result[window] = _placed(positions, source, to.cropped(window))
    return result


def _placed(positions: np.ndarray, source: Grid, to: Grid) -> np.ndarray:
    """Do what `resample_labels` says, in the part of the target that the labels reach."""
    counts = np.bincount(positions.ravel())
    labels = [int(label) for label in np.argsort(counts, kind="stable") if counts[label] and label]  # rarest first
    ratio = abs(np.linalg.det(source.affine) / np.linalg.det(to.affine))
    rng = np.random.default_rng(0)
    result = np.zeros(to.shape, dtype=np.uint8)
    free = np.ones(to.shape, dtype=bool)
    scores, quotas = [], []
    background = np.ones(to.shape, dtype=np.float32)
    for label in labels:
        drawn = positions == label
        pieces, _ = ndimage.label(drawn, _TOUCHING)
        sizes = np.bincount(pieces.ravel())
        is_small = sizes * ratio < SMALL
        is_small[0] = False
        small = is_small[pieces]
        if small.any():
            share = _shares(small, source, to)
            background -= share
            taken = _pieces(share, free, rng)
            result[taken] = label
            free &= ~taken
        share = _shares(drawn & ~small, source, to)
        background -= share
        quotas.append(round(float(share.sum(dtype=np.float64))))
        scores.append(share + TIE * _around(share, rng))
    scores.insert(0, background + TIE * _around(background, rng))
    open_ = free & (scores[0] < 1)  # elsewhere there is nothing but background
    winner = _with_quotas(np.stack([score[open_] for score in scores]), quotas)
    result[open_] = np.array([0, *labels], dtype=np.uint8)[winner]
    return result


def _around(share: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return what decides between equal shares: how much of a label there is around, and a little chance."""
    return ndimage.gaussian_filter(share, 0.8) + TIE * rng.random(share.shape, dtype=np.float32)


def _pieces(share: FloatArray, free: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the voxels of small pieces: in each group of touching ones, as many as it has volume, where it is most."""
    groups, n = ndimage.label(share > TIE, _TOUCHING)
    at = np.flatnonzero((groups > 0) & free)
    volume = np.bincount(groups.ravel(), weights=share.ravel(), minlength=n + 1)[1:]
    wanted = np.diff(np.floor(np.cumsum(volume) + 0.5), prepend=0)
    score = (share + TIE * _around(share, rng)).ravel()[at]
    group = groups.ravel()[at]
    order = np.lexsort((-score, group))
    first = np.searchsorted(group[order], np.arange(1, n + 1))
    rank = np.arange(len(at)) - first[group[order] - 1]
    taken = np.zeros(share.shape, dtype=bool)
    taken.ravel()[at[order[rank < wanted[group[order] - 1]]]] = True
    return taken


def _with_quotas(scores: FloatArray, quotas: list[int]) -> np.ndarray:
    """Return who wins each voxel, (V,), by scores (1 + K, V), such that label k, from 1, has ``quotas[k - 1]``."""
    scores = scores.copy()
    wanted = np.array(quotas)
    for _ in range(20):  # each label in turn; those that border each other settle within a few rounds
        found = np.bincount(scores.argmax(0), minlength=len(scores))[1:] if scores.size else wanted
        if np.abs(found - wanted).sum() <= TIE * wanted.sum():
            break
        for k, quota in enumerate(quotas, start=1):
            if 0 < quota <= scores.shape[1]:
                others = np.delete(scores, k, axis=0).max(0)
                lead = scores[k] - others
                scores[k] += 1e-9 - np.partition(lead, -quota)[-quota]
    return scores.argmax(0)


def what_is_kept(
    positions: np.ndarray, source: Grid, resampled: np.ndarray, to: Grid, sets: Sequence[LabelSet]
) -> list[dict[str, Any]]:
    """Return what became of each drawn label that occurs: its volume and its pieces, before and after.

    Each has ``set`` (position), ``ml``, ``ml_kept``, ``pieces`` (voxels that share a corner at least) and
    ``pieces_kept`` (those where the other grid has the label too).
    """
    before = np.bincount(positions.ravel(), minlength=len(sets)) * abs(np.linalg.det(source.affine)) / 1000
    after = np.bincount(resampled.ravel(), minlength=len(sets)) * abs(np.linalg.det(to.affine)) / 1000
    back = positions if same_grid(source, to) else sampled(resampled, to, source, 0)
    rows = []
    for at, members in enumerate(sets):
        if not (is_relevant(members) and before[at]):
            continue
        pieces, n = ndimage.label(positions == at, _TOUCHING)
        kept = np.unique(pieces[(back == at) & (pieces > 0)]).size
        rows.append({"set": at, "ml": float(before[at]), "ml_kept": float(after[at]), "pieces": n, "pieces_kept": kept})
    return rows


def cost_table(kept: Iterable[tuple[str, str, Mapping[str, Any]]]) -> pd.DataFrame:
    """Add up over cases what a grid costs, from (cohort, label, row of `what_is_kept`).

    Returns columns ``cohort, label, ml, ml kept (%), pieces, pieces kept (%)``.
    """
    import pandas as pd  # slow to import, and those who resample need it not

    table = pd.DataFrame([{"cohort": cohort, "label": label, **row} for cohort, label, row in kept])
    if table.empty:
        return table
    sums = table.groupby(["cohort", "label"], sort=False)[["ml", "ml_kept", "pieces", "pieces_kept"]].sum()
    for unit in ("ml", "pieces"):
        sums[f"{unit}_kept"] = 100 * sums[f"{unit}_kept"] / sums[unit]
    return sums.rename(columns={"ml_kept": "ml kept (%)", "pieces_kept": "pieces kept (%)"}).reset_index()


def _shares(mask: np.ndarray, source: Grid, to: Grid) -> FloatArray:
    """Return what part of each voxel of the target a mask covers, ``to.shape`` float32."""
    if is_rotated(source, to):
        return _smoothed(mask, source, to)
    mask, source = turned(mask, source, to)
    share: FloatArray = mask.astype(np.float32)
    for axis in range(3):
        share = along(overlaps(source, to, axis), share, axis)
    return share


def _smoothed(mask: np.ndarray, source: Grid, to: Grid, mode: str = "constant") -> FloatArray:
    """Return a mask as the voxels of the target see it: through a Gaussian of their width, interpolated linearly."""
    weight = mask.astype(np.float32)
    sigmas = gaussian_sigmas(source, to)
    if sigmas.max() > 0.05:  # below that a Gaussian of whole voxels changes nothing
        weight = ndimage.gaussian_filter(weight, sigmas, mode=mode)
    return sampled(weight, source, to, 1, mode=mode)
