"""Random contrast and shape for training patches: what scanners and sequences change, and how heads lie and differ.

Strength and kind of each patch come from (seed, step), so that a training that was killed goes on as it would have; the
same numbers serve on a CPU and on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

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


def vary_shape_(
    images: Tensor, target: Tensor, strength: float, spacing_mm: Sequence[float], seed: int, step: int
) -> None:
    """Turn and scale `TURNED` of some patches, each around its middle, in place.

    By angles (radians) about the three axes and the logarithm of one scale, all normal with the standard deviation
    `strength`, in world units. What comes from beyond a patch is its outermost voxel. Where slices are more than twice
    as thick as voxels are wide, patches turn in the plane of the slices only.

    Parameters
    ----------
    images, target
        (N, M, X, Y, Z) float32, interpolated linearly, and (N, X, Y, Z) int64, nearest neighbour.
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
        return
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    across = int(spacing.argmax())
    if spacing[across] > 2 * spacing.min():
        angles[:, [axis for axis in range(3) if axis != across]] = 0
    from scipy.spatial.transform import Rotation  # slow to import, and most trainings do without

    turns = Rotation.from_euler("xyz", angles).as_matrix() * np.exp(scales)[:, None, None]
    matrices = turns * spacing[None, None, :] / spacing[None, :, None]
    which = torch.from_numpy(chosen).to(images.device)
    images[which], target[which] = transformed(
        images[which], target[which], torch.from_numpy(matrices.astype(np.float32)).to(images.device)
    )


def transformed(images: Tensor, target: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return patches as they are at other places: at ``matrix @ offset`` for a voxel's offset from the middle.

    As `torch.nn.functional.grid_sample` does it with ``padding_mode="border"``, linearly for images and to the nearest
    voxel for labels, in half its time on a CPU, where it takes voxels one by one.

    Parameters
    ----------
    images, target
        (N, M, X, Y, Z) float32 and (N, X, Y, Z) int64; a patch has less than 2^24 voxels.
    matrices
        (N, 3, 3) float32, in voxels.
    """
    n, m, *size = images.shape
    strides = (size[1] * size[2], size[2], 1)
    below, nearest = (torch.zeros(n, *size, device=images.device) for _ in range(2))  # indices, exact as float32
    shares = []
    for axis, (length, stride) in enumerate(zip(size, strides, strict=True)):
        at = torch.full_like(below[:, :1, :1, :1], (length - 1) / 2)
        for other, count in enumerate(size):
            offsets = torch.arange(count, device=images.device) - (count - 1) / 2
            view = [-1 if a == other else 1 for a in range(3)]
            at = at + matrices[:, axis, other].view(-1, 1, 1, 1) * offsets.view(view)
        at.clamp_(0, length - 1)
        nearest.add_(at.round(), alpha=stride)
        low = at.floor().clamp_(max=max(length - 2, 0))
        below.add_(low, alpha=stride)
        shares.append(at.sub_(low).view(n, 1, -1))
    voxels, flat = below.long().view(n, 1, -1).expand(n, m, -1), images.flatten(2)

    def between(axis: int, shift: int) -> Tensor:
        """Interpolate along an axis and those after it, from the corners `shift` voxels on."""
        if axis == 3:
            return flat[:, :, shift:].gather(2, voxels)
        value = between(axis + 1, shift)
        return value if size[axis] == 1 else value.lerp_(between(axis + 1, shift + strides[axis]), shares[axis])

    labels = target.flatten(1).gather(1, nearest.long().view(n, -1)).view_as(target)
    return between(0, 0).view_as(images), labels
