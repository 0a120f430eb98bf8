"""Images and probabilities on another grid: nothing moves, and no image is aliased.

An image is averaged where voxels become much wider and interpolated linearly elsewhere.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .grids import FloatArray, Grid, field_of_view, is_rotated, matrix, same_grid, scale_factors, transformed

SUBSAMPLED = 1.5
"""Ratio of voxel sizes above which an image is averaged: below it, linear interpolation leaves little to alias."""

TIE = 1e-3
"""Weight, or distance in voxels, that matters between equals only."""


def resample(volume: np.ndarray, source: Grid, to: Grid, only_inside: bool = False) -> np.ndarray:
    """Bring an image to another grid, by linear interpolation of what it holds at the resolution of the target.

    Parameters
    ----------
    volume
        (X, Y, Z) float on `source`; its outermost voxels go on without end.
    only_inside
        0 beyond the outer faces of `source`.

    Returns
    -------
    np.ndarray
        ``to.shape``; `volume` itself if the grids agree.
    """
    if same_grid(source, to):
        return volume
    if is_rotated(source, to):
        sigmas = np.where(scale_factors(source, to) > SUBSAMPLED, gaussian_sigmas(source, to), 0)
        if sigmas.any():
            volume = ndimage.gaussian_filter(volume, sigmas, mode="nearest")
        result = sampled(volume, source, to, 1)
    else:
        volume, source = turned(volume, source, to)
        for axis in np.flatnonzero(scale_factors(source, to) > SUBSAMPLED).tolist():
            weights = overlaps(source, to, axis)
            beyond = np.flatnonzero(weights.sum(1) < TIE)  # the nearest voxel goes on there
            scale, shift = matrix(source, to)[axis, [axis, 3]]
            weights[beyond, np.where(scale * beyond + shift < 0, 0, source.shape[axis] - 1)] = 1
            weights /= weights.sum(1, keepdims=True)
            volume = along(weights, volume, axis)
            source = _with_axis_of(source, to, axis)
        result = sampled(volume, source, to, 1)
    if only_inside:
        result[~field_of_view(source, to)] = 0
    return result


def gaussian_sigmas(source: Grid, to: Grid) -> FloatArray:
    """Return the standard deviations (voxels of `source`) that a volume is smoothed with before linear interpolation.

    A voxel of the target that is r voxels of the source wide along an axis should see the source through a Gaussian
    whose full width at half maximum is its own width. The source has a width of one voxel already (linear
    interpolation is nearly a Gaussian of that width), so that sqrt((r^2 - 1) / (8 ln 2)) is left to do, and nothing
    where the target is not coarser (Cardoso et al., Scale factor point spread function matching, MICCAI 2015).
    """
    return np.sqrt(np.maximum(scale_factors(source, to) ** 2 - 1, 0) / (8 * np.log(2)))


def overlaps(source: Grid, to: Grid, axis: int) -> FloatArray:
    """Return the part of each voxel of the target that each of the source covers along an axis, (to, source)."""
    scale, shift = matrix(source, to)[axis, [axis, 3]]
    centres = scale * np.arange(to.shape[axis])[:, None] + shift
    voxels = np.arange(source.shape[axis])
    low, high = np.maximum(centres - scale / 2, voxels - 0.5), np.minimum(centres + scale / 2, voxels + 0.5)
    return (np.maximum(high - low, 0) / scale).astype(np.float32)


def along(weights: FloatArray, volume: FloatArray, axis: int) -> FloatArray:
    """Multiply a volume by a matrix (n, m) along an axis of m."""
    return np.ascontiguousarray(np.moveaxis(np.tensordot(weights, volume, axes=(1, axis)), 0, axis))


def turned(volume: np.ndarray, source: Grid, to: Grid) -> tuple[np.ndarray, Grid]:
    """Reorder and flip the axes of a volume, that is not rotated against the target, to be the target's."""
    linear = matrix(to, source)[:3, :3]
    place = np.abs(linear).argmax(axis=0)  # of each axis of the source, the target's
    flipped = linear[place, range(3)] < 0
    back = np.eye(4)
    back[:3] = 0
    back[range(3), place] = np.where(flipped, -1, 1)
    back[:3, 3] = np.where(flipped, np.asarray(source.shape) - 1, 0)
    result = np.flip(volume, tuple(np.flatnonzero(flipped).tolist())).transpose(np.argsort(place))
    x, y, z = result.shape
    return result, Grid((x, y, z), source.affine @ back)


def _with_axis_of(source: Grid, to: Grid, axis: int) -> Grid:
    """Return a grid that has the voxels of another, with the same axes, along one axis."""
    scale, shift = matrix(source, to)[axis, [axis, 3]]
    step = np.eye(4)
    step[axis, axis], step[axis, 3] = scale, shift
    shape = list(source.shape)
    shape[axis] = to.shape[axis]
    return Grid((shape[0], shape[1], shape[2]), source.affine @ step)


def reached(source: Grid, to: Grid) -> tuple[slice, ...]:
    """Return the part of a target grid that a source can reach, which may be empty."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.asarray(source.shape) - 0.5
    at = transformed(matrix(to, source), corners)
    low, high = np.floor(at.min(0)).astype(int) - 1, np.ceil(at.max(0)).astype(int) + 2
    return tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, to.shape, strict=True))


def sampled(
    volume: np.ndarray, source: Grid, to: Grid, order: int, shift: float = 0.0, mode: str = "nearest"
) -> np.ndarray:
    """Sample a volume at the centres of another grid, moved by so many voxels of the source; see `scipy.ndimage`."""
    at = matrix(source, to)
    linear, offset = at[:3, :3], at[:3, 3] + shift
    scale = np.diag(linear)
    if scale.min() > 0 and np.allclose(linear, np.diag(scale), atol=1e-6):  # scipy has a faster way
        linear = scale
    return ndimage.affine_transform(volume, linear, offset, to.shape, order=order, mode=mode, prefilter=False)


def most_probable_on(probabilities: FloatArray, source: Grid, to: Grid) -> np.ndarray:
    """Bring a segmentation to another grid: each class is interpolated linearly, then the most probable wins.

    Parameters
    ----------
    probabilities
        (C, X, Y, Z) float32 on `source`; class 0 is background and is assumed beyond it.
    source, to
        Grids of any orientation and spacing.

    Returns
    -------
    np.ndarray
        Class numbers, uint8, ``to.shape``.
    """
    result = np.zeros(to.shape, dtype=np.uint8)
    window = reached(source, to)
    if any(part.stop <= part.start for part in window):
        return result
    part = to.cropped(window)
    best = np.zeros(part.shape, dtype=np.float32)
    found = np.zeros(part.shape, dtype=np.uint8)
    for c, volume in enumerate(probabilities):
        # the centres of the outermost voxels may lie beyond the last centres of a coarser grid
        values = resample(np.asarray(volume, dtype=np.float32), source, part)
        better = values > best
        found[better] = c
        best[better] = values[better]
    # but not beyond its outermost voxels
    found[~field_of_view(source, part)] = 0
    result[window] = found
    return result
