"""Random fields, smooth displacements and interpolation on regular grids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import ndimage
from torch.nn import functional

FloatArray = np.ndarray
Spacing = tuple[float, float, float]


def voxel_positions(shape: tuple[int, ...]) -> FloatArray:
    """Return the positions (3, X, Y, Z) float32 of all voxels of a grid, counted from 0."""
    return np.indices(shape, dtype=np.float32)


def column(values: ArrayLike, dtype: type = np.float32) -> FloatArray:
    """Return a value per axis, (3,), such that it goes with positions (3, X, Y, Z)."""
    return np.asarray(values, dtype).reshape(3, 1, 1, 1)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], scale_mm: float, spacing_mm: tuple[float, ...]
) -> FloatArray:
    """Draw a Gaussian random field with zero mean, unit variance and the given correlation length.

    The field is drawn on a coarse grid and interpolated, so its cost hardly depends on the length.
    """
    steps = [max(int(scale_mm / (1.5 * s)), 1) for s in spacing_mm]
    coarse = rng.standard_normal([n // step + 8 for n, step in zip(shape, steps, strict=True)], dtype=np.float32)
    sigma = [scale_mm / (s * step) for s, step in zip(spacing_mm, steps, strict=True)]
    coarse = ndimage.gaussian_filter(coarse, sigma, mode="wrap")
    coarse /= coarse.std()
    for axis, (n, step) in enumerate(zip(shape, steps, strict=True)):
        coarse = interpolate_axis(coarse, np.arange(n) / step + 2, axis)
    return coarse


def interpolate_axis(values: FloatArray, positions: FloatArray, axis: int) -> FloatArray:
    """Linear interpolation along one axis at fractional positions; beyond its end, the last value."""
    low = np.floor(positions).astype(int)
    weight = np.expand_dims((positions - low).astype(np.float32), tuple(range(1, values.ndim - axis)))
    return np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis, mode="clip") * weight


def random_displacement(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    parts: Sequence[tuple[float, float]],
) -> FloatArray:
    """Draw a diffeomorphic displacement field, (3, X, Y, Z) in mm, float32.

    A stationary velocity field, the sum of `parts` (correlation length, amplitude; both in mm), is integrated by
    scaling and squaring (Arsigny et al. 2006), which keeps the mapping free of folds.
    """
    velocity = np.zeros((3, *shape), np.float32)
    for scale_mm, amplitude_mm in parts:
        velocity += np.stack([amplitude_mm * smooth_noise(rng, shape, scale_mm, spacing_mm) for _ in range(3)])
    n_squarings = 5
    displacement = velocity / 2**n_squarings
    grid, size = voxel_positions(shape), column(spacing_mm)
    for _ in range(n_squarings):
        at = grid + displacement / size
        displacement = displacement + np.stack(
            [ndimage.map_coordinates(d, at, order=1, mode="nearest") for d in displacement]
        )
    return displacement


def interpolate(volumes: FloatArray, at: FloatArray, beyond: str = "zeros") -> FloatArray:
    """Linear interpolation of (C, X, Y, Z) at voxel positions (3, ...); ``zeros`` or the ``border`` value beyond."""
    scale = column(2 / (np.array(volumes.shape[1:]) - 1))
    # grid_sample wants positions in [-1, 1], last axis first
    normed = np.ascontiguousarray(np.moveaxis((at * scale - 1)[::-1], 0, -1), dtype=np.float32)
    values, grid = (torch.from_numpy(a)[None] for a in (np.ascontiguousarray(volumes, dtype=np.float32), normed))
    return functional.grid_sample(values, grid, align_corners=True, padding_mode=beyond)[0].numpy()


def limit_above(score: FloatArray, ml: float, spacing_mm: tuple[float, ...]) -> float:
    """Return the value that a score exceeds in a given volume."""
    n_voxels = max(int(ml * 1000 / np.prod(spacing_mm)), 1)
    return float(np.partition(score.ravel(), -n_voxels)[-n_voxels])
