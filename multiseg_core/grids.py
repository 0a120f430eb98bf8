"""Voxel grids: the grid that a case is brought to, and how two grids lie to each other (thesis 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

FloatArray = np.ndarray

ROTATED = 1e-4
"""Entries from which on two grids are rotated against each other: a fortieth of a voxel over 256 voxels."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an array lie.

    Attributes
    ----------
    shape
        (X, Y, Z).
    affine
        (4, 4) voxel to world (mm, RAS+).
    """

    shape: tuple[int, int, int]
    affine: FloatArray

    @classmethod
    def of(cls, image: nib.Nifti1Image) -> Grid:
        """Return the grid of a 3-D image."""
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


def shear_degrees(affine: FloatArray) -> float:
    """Return by how much two axes differ from a right angle at most, as of CT with a tilted gantry."""
    axes = affine[:3, :3] / voxel_sizes(affine)
    cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(min(cosines.max(), 1.0))))


def rescaled(grid: Grid, spacing_mm: float | Sequence[float] | None) -> Grid:
    """Return the grid of other voxels over the same field of view and with the same axes; the grid itself for None.

    `spacing_mm` is one size or one per axis.
    """
    if spacing_mm is None:
        return grid
    old = voxel_sizes(grid.affine)
    size = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), 3)
    counts = _voxel_counts(np.asarray(grid.shape) * old, size)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] / old * size
    # the outer faces of the first voxels coincide: their centres differ by half a voxel size
    affine[:3, 3] += grid.affine[:3, :3] @ ((size / old - 1) / 2)
    return Grid(counts, affine)


def aligned_with_world(grid: Grid, spacing_mm: float | Sequence[float] | None) -> Grid:
    """Return the grid along the scanner axes (RAS+) that encloses the field of view.

    `spacing_mm` None keeps the voxel sizes, each for the scanner axis that is nearest to its own.
    """
    size = np.full(3, np.nan if spacing_mm is None else spacing_mm, dtype=np.float64)
    if spacing_mm is None:
        nearest_axis = nib.io_orientation(grid.affine)[:, 0].astype(int)
        size[nearest_axis] = voxel_sizes(grid.affine)
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.asarray(grid.shape) - 0.5  # (8, 3), the outer faces
    world = nib.affines.apply_affine(grid.affine, corners)
    low, high = world.min(axis=0), world.max(axis=0)
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = low + size / 2
    return Grid(_voxel_counts(high - low, size), affine)


def _voxel_counts(extent_mm: FloatArray, size_mm: FloatArray) -> tuple[int, int, int]:
    x, y, z = (int(n) for n in np.maximum(np.ceil(extent_mm / size_mm - 1e-3), 1))
    return x, y, z


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
