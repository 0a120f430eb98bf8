"""The grid that a case is brought to (thesis 3.5)."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from multiseg_core.grids import FloatArray, Grid, transformed, voxel_sizes


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
    world = transformed(grid.affine, corners)
    low, high = world.min(axis=0), world.max(axis=0)
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = low + size / 2
    return Grid(_voxel_counts(high - low, size), affine)


def _voxel_counts(extent_mm: FloatArray, size_mm: FloatArray) -> tuple[int, int, int]:
    x, y, z = (int(n) for n in np.maximum(np.ceil(extent_mm / size_mm - 1e-3), 1))
    return x, y, z
