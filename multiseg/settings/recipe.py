"""What params leave to the data: voxel size, patch size, the shape of the U-Net, and whether mirroring is safe.

Written as ``auto`` in a params file. The rules are arithmetic on the median image and a number of voxels that a patch
may have; those of strides and kernels are nnU-Net's (Isensee et al. 2021), with a small budget in mind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COVERED = 1 / 3
"""Part of the longest side of the median image that a patch should show, for which voxels may become coarser."""

THICK = 3.0
"""Ratio of voxel sizes from which slices are called thick: then the thinnest tenth of them counts, not the median."""

SMALLEST = 4
"""Voxels that a pooled axis keeps at least."""

MIRRORED = 0.8
"""Correlation of images with their mirror images from which on mirroring is safe. Brain-extracted heads have 0.94 to
0.97 on average, with tumours too, for the outline of the head counts most; boxes around one hippocampus have 0.0."""

THREAD_FLOPS = 20e9
"""Operations a second of training that a budget of minutes counts on: about one thread of a laptop."""

ROUND = 50
"""Steps that a budget allows are multiples of this."""

BINS = 16
"""Blocks per axis whose means are compared with those of the mirror image."""

Three = tuple[int, int, int]


@dataclass(frozen=True)
class Levels:
    """The steps of a U-Net down: see `multiseg_core.networks.UNet`."""

    strides: tuple[Three, ...]
    kernels: tuple[Three, ...]

    @property
    def multiple(self) -> Three:
        """What the sizes of its inputs must be multiples of."""
        x, y, z = (math.prod(step[axis] for step in self.strides) for axis in range(3))
        return x, y, z


def typical(shapes: Sequence[Sequence[int]], spacings_mm: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxel size and the extent (mm, (3,) each) of a typical image.

    Medians; but of voxels whose slices are more than `THICK` times as thick as they are wide, the size across slices of
    the thinnest tenth.
    """
    sizes = np.asarray(spacings_mm, dtype=np.float64)
    extent_mm = np.median(np.asarray(shapes) * sizes, axis=0)
    size_mm = np.median(sizes, axis=0)
    across = int(size_mm.argmax())
    if size_mm.max() > THICK * size_mm.min():
        size_mm[across] = np.percentile(sizes[:, across], 10)
    return size_mm, extent_mm


def plan_spacing(size_mm: np.ndarray, extent_mm: np.ndarray, voxels: int) -> list[float]:
    """Return the voxel size of the store, (3,) mm: that of a typical image, or coarser.

    The finest axes are made coarser until a cube of `voxels`, cut where the image ends, is `COVERED` of the image's
    longest side.
    """
    low, high = float(size_mm.min()), float(max(size_mm.max(), extent_mm.max()))

    def shows_enough(finest: float) -> bool:
        spacing = np.maximum(size_mm, finest)
        return _cube_mm(spacing, extent_mm, voxels) >= COVERED * float(extent_mm.max())

    if shows_enough(low):
        high = low
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if shows_enough(middle) else (middle, high)
    return [round(float(s), 2) for s in np.maximum(size_mm, high)]


def _cube_mm(spacing: np.ndarray, extent_mm: np.ndarray, voxels: int) -> float:
    """Return the side of the largest cube of some voxels, cut where the image ends."""
    volume = voxels * float(spacing.prod())
    ends = np.sort(extent_mm)
    for i, end in enumerate(ends):  # axes that are shorter than the cube give all they have
        side = (volume / float(ends[:i].prod())) ** (1 / (3 - i))
        if side <= end:
            return side
    return float(ends[-1])


def plan_levels(size: Sequence[int], spacing_mm: Sequence[float], levels: int) -> Levels:
    """Return strides and kernels that follow the voxels of a patch.

    An axis is halved while it keeps `SMALLEST` voxels and its voxels are less than twice as large as the finest that
    can still be halved; convolutions are 3 wide along axes whose voxels are less than twice as large as the finest.

    Parameters
    ----------
    size, spacing_mm
        Of the patch, (3,). An axis of one voxel is left alone.
    levels
        Most levels.
    """
    n, voxel = [int(v) for v in size], [float(s) for s in spacing_mm]
    flat = [v == 1 for v in n]

    def kernel() -> Three:
        finest = min(v for v, is_flat in zip(voxel, flat, strict=True) if not is_flat or all(flat))
        x, y, z = (3 if v < 2 * finest and not is_flat else 1 for v, is_flat in zip(voxel, flat, strict=True))
        return x, y, z

    strides: list[Three] = []
    kernels = [kernel()]
    while len(kernels) < levels:
        large = [axis for axis in range(3) if n[axis] >= 2 * SMALLEST]
        if not large:
            break
        finest = min(voxel[axis] for axis in large)
        x, y, z = (2 if axis in large and voxel[axis] < 2 * finest else 1 for axis in range(3))
        strides.append((x, y, z))
        n = [-(-v // step) for v, step in zip(n, (x, y, z), strict=True)]
        voxel = [v * step for v, step in zip(voxel, (x, y, z), strict=True)]
        kernels.append(kernel())
    if not strides:  # a U-Net has two levels; the second sees what the first does
        strides, kernels = [(1, 1, 1)], kernels * 2
    return Levels(tuple(strides), tuple(kernels))


def plan_patch(shape: Sequence[int], spacing_mm: Sequence[float], multiple: Sequence[int], voxels: int) -> list[int]:
    """Return a patch size: its shortest side (mm) grows, step by step, within the image and a number of voxels.

    Parameters
    ----------
    shape
        Of a typical image, (3,) voxels.
    spacing_mm
        Its voxel size, (3,).
    multiple
        Sizes are multiples of these, one of each at least; to the one nearest to the image's at most.
    voxels
        Most voxels of the patch.
    """
    patch = [int(m) for m in multiple]
    open_axes = {0, 1, 2}
    while open_axes:
        axis = min(open_axes, key=lambda a: (patch[a] * spacing_mm[a], a))
        grown = [n + multiple[axis] * (a == axis) for a, n in enumerate(patch)]
        if grown[axis] - multiple[axis] / 2 >= shape[axis]:
            open_axes.remove(axis)
        elif math.prod(grown) > voxels:
            break  # longer along others it would not be as wide as deep
        else:
            patch = grown
    return patch


def mirror_likeness(image: np.ndarray, axis: int) -> float:
    """Return the correlation of an image with its mirror image, both as means of `BINS` blocks per axis.

    Parameters
    ----------
    image
        (X, Y, Z) float; axes shorter than `BINS` are compared voxel by voxel.
    axis
        The axis from left to right.

    Returns
    -------
    float
        -1 to 1; 0 for a constant image.
    """
    one, other = _blocks(image), _blocks(np.flip(image, axis))
    one, other = one - one.mean(), other - other.mean()
    total = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / total) if total > 0 else 0.0


def _blocks(image: np.ndarray) -> np.ndarray:
    """Return the means of at most `BINS` blocks per axis."""
    means = np.asarray(image, dtype=np.float64)
    for along, n in enumerate(image.shape):
        edges = np.linspace(0, n, min(n, BINS) + 1).astype(int)
        width = np.diff(edges).reshape([-1 if axis == along else 1 for axis in range(means.ndim)])
        means = np.add.reduceat(means, edges[:-1], axis=along) / width
    return means


def plan_batch(patch: Sequence[int], voxels: int) -> int:
    """Return the number of patches of a step: those of four times as many voxels as a patch may have, two at least.

    Batch normalisation wants more than one; where images are small, or patches are slices, there are more.
    """
    return max(2, round(4 * voxels / math.prod(patch)))


def plan_steps(flops: float, minutes: float) -> int:
    """Return the number of steps, of some operations each, of a thread in some minutes; a multiple of `ROUND`."""
    return max(1, int(minutes * 60 * THREAD_FLOPS / flops / ROUND)) * ROUND
