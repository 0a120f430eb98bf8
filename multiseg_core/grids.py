"""Voxel grids, and how two of them lie to each other (thesis 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FloatArray = np.ndarray

ROTATED = 1e-4
"""Entries from which on two grids are rotated against each other: a fortieth of a voxel over 256 voxels."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an array lie."""

    shape: tuple[int, int, int]
    """(X, Y, Z)."""
    affine: FloatArray
    """(4, 4) voxel to world (mm, RAS+)."""

    @classmethod
    def of(cls, image: Any) -> Grid:
        """Return the grid of a 3-D image with ``shape`` and ``affine``, as nibabel's have."""
        x, y, z = (int(n) for n in image.shape)
        return cls((x, y, z), np.asarray(image.affine, dtype=np.float64))

    def cropped(self, box: tuple[slice, ...]) -> Grid:
        """Return the grid of ``array[box]``."""
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, :3] @ [s.start for s in box]
        x, y, z = (s.stop - s.start for s in box)
        return Grid((x, y, z), affine)


def voxel_sizes(affine: FloatArray) -> FloatArray:
    """Return the three voxel sizes (mm) of an affine."""
    return np.sqrt((affine[:3, :3] ** 2).sum(axis=0))


def voxel_ml(affine: FloatArray) -> float:
    """Return the volume of a voxel (ml), whatever the angles between the axes."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000


def transformed(affine: FloatArray, points: FloatArray) -> FloatArray:
    """Return points (N, 3) where an affine (4, 4) takes them."""
    moved: FloatArray = np.dot(points, affine[:3, :3].T) + affine[:3, 3]
    return moved


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two grids have the same voxels, but for rounding."""
    return a.shape == b.shape and np.allclose(a.affine, b.affine, atol=1e-5)


def is_rotated(source: Grid, to: Grid) -> bool:
    """Whether the axes of two grids differ by more than scale, order and direction."""
    turned = np.abs(matrix(source, to)[:3, :3])
    return bool(np.sort(turned / turned.max(axis=0), axis=0)[:2].max() > ROTATED)


def matrix(source: Grid, to: Grid) -> FloatArray:
    """Return voxel of `to` -> voxel of `source`, (4, 4)."""
    return np.linalg.inv(source.affine) @ to.affine


def field_of_view(source: Grid, to: Grid) -> np.ndarray:
    """Return which voxels of `to` have their centre within the outer faces of `source`, ``to.shape`` bool."""
    at_source = matrix(source, to)
    inside = np.ones(to.shape, dtype=bool)
    axes = np.ogrid[tuple(slice(n) for n in to.shape)]
    for row, n in zip(at_source[:3], source.shape, strict=True):
        # a centre that falls on an outer face, but for rounding, is inside
        at = sum((row[axis] * axes[axis] for axis in range(3)), np.float64(row[3]))
        inside &= (at > -0.5 - 1e-4) & (at < n - 0.5 + 1e-4)
    return inside


def scale_factors(source: Grid, to: Grid) -> FloatArray:
    """Return how many voxels of `source` a voxel of `to` is wide along each axis of `source`, (3,)."""
    # the three edges of a rotated voxel add up in variance
    return np.sqrt((matrix(source, to)[:3, :3] ** 2).sum(axis=1))
