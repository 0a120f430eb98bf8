"""Random contrast for training patches: what scanners and sequences change, and anatomy does not.

Strength and kind of each patch come from (seed, step), so that a training that was killed goes on as it would have; the
same numbers serve on a CPU and on a GPU.
"""

from __future__ import annotations

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
    extent = (high - low).clamp(min=1e-6)
    x = ((images - low) / extent).pow(of(0).exp()).mul_(extent).add_(low)
    for axis, length in enumerate(size):  # a voxel takes up to an eighth of each neighbour
        if length > 1:
            weight = of(9 + axis).clamp(max=1) / 8
            near = x.narrow(2 + axis, 1, length - 1) - x.narrow(2 + axis, 0, length - 1)
            flow = weight * near
            x.narrow(2 + axis, 0, length - 1).add_(flow)
            x.narrow(2 + axis, 1, length - 1).sub_(flow)
    field = torch.zeros_like(of(0))
    for axis, length in enumerate(size):
        at = torch.linspace(-1, 1, length, device=images.device) if length > 1 else torch.zeros(1, device=images.device)
        at = at.view([-1 if a == axis else 1 for a in range(len(size))])
        field = field + of(1 + axis) * at + of(4 + axis) * (at * at - 1 / 3)
    field = field / LEVEL  # a strength of 1 shifts by a standard deviation
    return x.add_(field * (x + LEVEL)).mul_(of(7).exp()).add_(of(8))
