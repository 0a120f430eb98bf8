"""Random contrast and shape for training patches: what scanners and sequences change, and how heads lie and differ.

Strength and kind of each patch come from (seed, step), so that a training that was killed goes on as it would have; the
same numbers serve on a CPU and on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

LEVEL = 3.0
"""Mean of a standardised image over its standard deviation, before it was standardised: a factor of what a scanner saw
is this much of a shift. About that of brain-extracted T1 and FLAIR images."""


def vary_contrast(images: Tensor, strength: float, seed: int, step: int) -> Tensor:
    """Return patches with another contrast each: gamma, bias field, blur, scale and shift.

    Every patch and channel draws its own share of `strength`, and with it: a power of its intensities, between their
    least and largest, of exp(normal); a smooth field, of first and second order in the coordinates, that multiplies
    what the scanner saw; a blur of up to half a voxel; a scale of exp(normal) and a shift, in standard deviations of
    the image.

    Parameters
    ----------
    images
        (N, M, *spatial) float32, standardised; channels of NaN stay so. Not changed.
    strength
        Standard deviation of all of these; 0.3 makes a contrast that varies as between scanners.
    seed, step
        Where the random numbers start.
    """
    n, m, *size = images.shape
    rng = np.random.default_rng([seed, step, 1])  # apart from the sampler's
    share = strength * rng.random((n, m, 1))
    drawn = np.concatenate([rng.standard_normal((n, m, 9)), rng.random((n, m, 3))], axis=2) * share
    numbers = torch.from_numpy(drawn.astype(np.float32)).to(images.device)

    def of(k: int) -> Tensor:
        return numbers[..., k].view(n, m, *[1] * len(size))

    low, high = images.amin(tuple(range(2, images.ndim)), True), images.amax(tuple(range(2, images.ndim)), True)
    power, extent = of(0).exp(), (high - low).clamp(min=1e-6)
    # above the least value, extent * (x / extent) ** power; by logarithms, which take a fifth of the time
    x = (images - low).log_().mul_(power).add_((1 - power) * extent.log()).exp_()
    for axis, length in enumerate(size):  # a voxel takes up to an eighth of each neighbour
        if length > 1:
            weight = of(9 + axis).clamp(max=1) / 8
            flow = (x.narrow(2 + axis, 1, length - 1) - x.narrow(2 + axis, 0, length - 1)).mul_(weight)
            x.narrow(2 + axis, 0, length - 1).add_(flow)
            x.narrow(2 + axis, 1, length - 1).sub_(flow)
    field = torch.full_like(power, LEVEL)  # a strength of 1 shifts by a standard deviation
    for axis, length in enumerate(size):
        at = torch.linspace(-1, 1, length, device=images.device) if length > 1 else torch.zeros(1, device=images.device)
        at = at.view([-1 if a == axis else 1 for a in range(len(size))])
        field = field + (of(1 + axis) * at + of(4 + axis) * (at * at - 1 / 3))
    scale = of(7).exp()
    return x.add_(low + LEVEL).mul_(field * (scale / LEVEL)).add_(of(8) - LEVEL * scale)


TURNED = 0.25
"""Share of the patches that are turned: interpolation is slow on a CPU."""


def vary_shape(
    images: Tensor, target: Tensor, strength: float, spacing_mm: Sequence[float], seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """Return patches of which `TURNED` are turned and scaled around its middle.

    By angles (radians) about the three axes and the logarithm of one scale, all normal with the standard deviation
    `strength`, in world units. What comes from beyond a patch is its outermost voxel. Where slices are more than twice
    as thick as voxels are wide, patches turn in the plane of the slices only.

    Parameters
    ----------
    images, target
        (N, M, X, Y, Z) float32, interpolated linearly, and (N, X, Y, Z) int64, nearest neighbour. Not changed.
    strength
        0.15 turns most patches by less than 17 degrees and scales them by less than a third.
    spacing_mm
        Voxel size, (3,).
    seed, step
        Where the random numbers start.
    """
    rng = np.random.default_rng([seed, step, 2])  # apart from the sampler's and the contrast's
    chosen = np.flatnonzero(rng.random(len(images)) < TURNED)
    angles, scales = rng.normal(0, strength, (len(images), 3))[chosen], rng.normal(0, strength, len(images))[chosen]
    if not len(chosen):
        return images, target
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    across = int(spacing.argmax())
    if spacing[across] > 2 * spacing.min():
        angles[:, [axis for axis in range(3) if axis != across]] = 0
    size = np.array(images.shape[2:], dtype=np.float64)
    half = spacing * size / 2  # world units of half a patch: coordinates of the grid run from -1 to 1
    turns = Rotation.from_euler("xyz", angles).as_matrix() * np.exp(scales)[:, None, None]
    matrices = turns * half[None, None, :] / half[None, :, None]
    # the grid of torch counts axes from the last
    theta = torch.zeros(len(chosen), 3, 4)
    theta[:, :, :3] = torch.from_numpy(matrices[:, ::-1, ::-1].astype(np.float32).copy())
    which = torch.from_numpy(chosen).to(images.device)
    grid = F.affine_grid(theta.to(images.device), [len(chosen), 1, *images.shape[2:]], align_corners=False)
    turned = F.grid_sample(images[which], grid, "bilinear", "border", align_corners=False)
    labels = _nearest(target[which], grid)
    images, target = images.clone(), target.clone()
    images[which], target[which] = turned, labels
    return images, target


def _nearest(target: Tensor, grid: Tensor) -> Tensor:
    """Return labels (N, X, Y, Z) at the points of a grid, as `F.grid_sample` does it, in half its time on a CPU."""
    where = torch.zeros(target.shape, device=target.device)  # exact as float32, as a patch has less than 2^24 voxels
    for axis, size in enumerate(target.shape[1:]):
        at = grid[..., 2 - axis].mul(size / 2).add_((size - 1) / 2).clamp_(0, size - 1).round_()
        where = where.mul_(size).add_(at)
    return target.flatten(1).gather(1, where.long().flatten(1)).view_as(target)
