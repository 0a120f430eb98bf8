"""Patches for training (thesis 3.4 and 3.6).

Each patch is drawn in five steps: a cohort, a case of it, a drawn label present in the case, a voxel of that label,
and a patch that contains the voxel, all uniformly, but for weights that cohorts and labels may be given. Then it is
mirrored with probability 1/2 and gets Gaussian noise.
Uniform sampling, kept for comparison, takes any voxel of the brain in place of the third and fourth step. Of patches
that all contain a drawn label none lies far from the brain; a share of them may lie anywhere in the image instead.
All random numbers of a step come from (seed, step), so any batch can be made again, in any order.

Two things make it fast enough to run in the training process. No volume is ever searched: the store lists the voxels
of each label. And no normal number is drawn per voxel: the noise of a patch is a random stretch of a pool of normal
numbers that is drawn once. The volumes are memory maps, so private memory stays at the pool and one batch,
however large the data are.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from .case import Case
from .errors import UserError

NOISE_POOL = 2**22
"""Normal numbers in the pool (16 MB); four patches' worth if that is more."""


@dataclass(frozen=True)
class SamplingCohort:
    """A training cohort as the sampler sees it."""

    cases: Sequence[Case]
    """Its stored cases."""
    lookup: np.ndarray
    """Positions in the cases' `sets` -> rows of the network's label space, uint8."""
    modalities: Sequence[str]
    """What to read of the cases' images; the channel of one that a case lacks holds NaN."""
    mirrored: np.ndarray | None = None
    """As `lookup`, in patches that are mirrored; where left and right have labels of their own, these change places."""
    controls: bool = False
    """Its background says something on its own, as of healthy controls: cases without any drawn label are of use."""
    task: int = 0
    """Number of the task that it is for, of a network that is told."""
    weight: float = 1.0
    """How often it is drawn, compared with others."""
    label_weights: Mapping[int, float] = field(default_factory=dict)
    """Position in the cases' `sets` -> how often that label is aimed at; 1 for the others."""


class Batch(NamedTuple):
    """Some patches, and what is known of the cohorts that they are from."""

    images: torch.Tensor
    """(N, M, *patch) float32."""
    target: torch.Tensor
    """(N, *patch) int64 row numbers."""
    task: torch.Tensor
    """(N,) int64, see `SamplingCohort`."""
    background: torch.Tensor
    """(N,) int64, the row that stands for the background of each patch's cohort."""


@dataclass(frozen=True)
class PatchDraw:
    """Everything that determines one patch."""

    cohort: int
    case: int
    """Numbers of the cohort and of the case within it."""
    label: int
    """Position of the aimed voxel's label in the case's `sets`."""
    voxel: tuple[int, ...]
    """The aimed voxel, (3,)."""
    corner: tuple[int, ...]
    """First voxel of the patch, (3,); negative if the volume is smaller than the patch."""
    flip: bool
    """Mirror the axis that runs from left to right."""
    noise_start: int
    """Where in the pool of normal numbers its noise begins."""


class PatchSampler:
    """Draws batches of patches from the store.

    Parameters
    ----------
    cohorts
        Training cohorts. Cases without any drawn label are never drawn, unless no case of a cohort of controls has
        one: then patches lie anywhere in their brains.
    patch_size
        (3,) voxels.
    batch_size
        Patches per batch.
    seed
        Start of all random numbers.
    flip
        Mirror half of the patches.
    noise_sd
        Standard deviation of the added noise; 0 for none.
    outside_value
        Fills what lies beyond a volume that is smaller than the patch.
    uniform
        Aim at any voxel of the brain of any case, rather than at a drawn label.
    anywhere_fraction
        Share of patches that aim at any voxel of the image instead, the background included.

    Raises
    ------
    UserError
        If a cohort has no case with a drawn label and is none of controls; with `uniform`, if it has no case.
    """

    def __init__(
        self,
        cohorts: Sequence[SamplingCohort],
        patch_size: Sequence[int],
        batch_size: int,
        seed: int,
        flip: bool = True,
        noise_sd: float = 0.1,
        outside_value: float = -4.0,
        uniform: bool = False,
        anywhere_fraction: float = 0.0,
    ) -> None:
        self.cohorts = cohorts
        self.patch_size = tuple(patch_size)
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.noise_sd = noise_sd
        self.outside_value = outside_value
        self.uniform = uniform
        self.anywhere_fraction = anywhere_fraction
        self._brains: dict[tuple[int, int], _Brain] = {}
        self._aimless = [uniform or (c.controls and not any(case.voxels for case in c.cases)) for c in cohorts]
        self._usable = [
            [i for i, case in enumerate(c.cases) if aimless or case.voxels]
            for c, aimless in zip(cohorts, self._aimless, strict=True)
        ]
        self._channels = [[case.channels_or_none(c.modalities) for case in c.cases] for c in cohorts]
        for cohort, usable in zip(cohorts, self._usable, strict=True):
            if not usable:
                names = sorted({case.cohort for case in cohort.cases}) or ["?"]
                raise UserError(f"cohort {names[0]}: none of {len(cohort.cases)} cases carries a label to sample")
        self._labels = [[sorted(case.voxels) for case in c.cases] for c in cohorts]
        self._cohort_shares = _shares([c.weight for c in cohorts])
        self._label_shares = [
            [_shares([c.label_weights.get(label, 1.0) for label in labels]) for labels in of_cases]
            for c, of_cases in zip(cohorts, self._labels, strict=True)
        ]
        n_numbers = max(len(c.modalities) for c in cohorts) * math.prod(self.patch_size)
        n_pool = max(NOISE_POOL, 4 * n_numbers) if noise_sd > 0 else n_numbers
        self._noise_starts = n_pool - n_numbers + 1
        self._noise = np.zeros(0, np.float32)
        if noise_sd > 0:
            self._noise = np.random.default_rng(seed).standard_normal(n_pool, dtype=np.float32) * np.float32(noise_sd)

    @functools.cached_property
    def spacing_mm(self) -> tuple[float, ...]:
        """The median voxel size of its cases, (3,)."""
        sizes = [case.spacing_mm for cohort in self.cohorts for case in cohort.cases]
        return tuple(np.median(np.array(sizes), axis=0).tolist())

    def draw(self, step: int) -> list[PatchDraw]:
        """Draw what determines the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        n_numbers = 6 + len(self.patch_size) + (self.anywhere_fraction > 0)
        return [self._draw(iter(numbers)) for numbers in rng.random((self.batch_size, n_numbers)).tolist()]

    def _draw(self, numbers: Iterator[float]) -> PatchDraw:
        """Turn numbers in [0, 1) into a draw."""
        k = _weighted(self._cohort_shares, next(numbers))
        i = _choose(self._usable[k], next(numbers))
        case = self.cohorts[k].cases[i]
        if self.anywhere_fraction > 0 and next(numbers) < self.anywhere_fraction:
            next(numbers)  # would choose the label
            flat = int(next(numbers) * case.target.size)
            label = int(case.target.flat[flat])
        elif self._aimless[k]:
            brain = self._brains.get((k, i)) or self._brains.setdefault((k, i), _Brain(case.mask))
            next(numbers)  # would choose the label
            flat = brain.voxel(next(numbers))
            label = int(case.target.flat[flat])
        else:
            label = self._labels[k][i][_weighted(self._label_shares[k][i], next(numbers))]
            flat = int(_choose(case.voxels[label], next(numbers)))
        _, n_y, n_z = case.shape
        voxel = (flat // (n_y * n_z), flat // n_z % n_y, flat % n_z)
        corner = tuple(
            _corner(v, p, n, next(numbers)) for v, p, n in zip(voxel, self.patch_size, case.shape, strict=True)
        )
        flip = next(numbers) < 0.5 and self.flip
        return PatchDraw(k, i, label, voxel, corner, flip, int(next(numbers) * self._noise_starts))

    def patch(self, draw: PatchDraw) -> tuple[np.ndarray, np.ndarray]:
        """Make the patch of a draw: image (M, *patch) float32 and target rows (*patch) uint8, both new arrays."""
        image = np.empty((len(self.cohorts[draw.cohort].modalities), *self.patch_size), dtype=np.float32)
        target = np.empty(self.patch_size, dtype=np.uint8)
        self._fill(draw, image, target)
        return image, target

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        images = np.empty((self.batch_size, len(self.cohorts[0].modalities), *self.patch_size), dtype=np.float32)
        targets = np.empty((self.batch_size, *self.patch_size), dtype=np.uint8)
        draws = self.draw(step)
        for draw, image, target in zip(draws, images, targets, strict=True):
            self._fill(draw, image, target)
        return Batch(torch.from_numpy(images), torch.from_numpy(targets.astype(np.int64)), *self._origin(draws))

    def _origin(self, draws: Sequence[PatchDraw]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tasks and the background rows of some patches."""
        of = [self.cohorts[draw.cohort] for draw in draws]
        rows = [c.mirrored if d.flip and c.mirrored is not None else c.lookup for c, d in zip(of, draws, strict=True)]
        return torch.tensor([c.task for c in of]), torch.tensor([int(lookup[0]) for lookup in rows])

    def _fill(self, draw: PatchDraw, image: np.ndarray, target: np.ndarray) -> None:
        """Write the patch of a draw into two arrays."""
        cohort = self.cohorts[draw.cohort]
        case: Any = cohort.cases[draw.case]
        inside, place = [], []
        for start, p, n in zip(draw.corner, self.patch_size, case.shape, strict=True):
            low, high = max(start, 0), min(start + p, n)
            inside.append(slice(low, high))
            place.append(slice(low - start, high - start))
        # written through a mirrored view, the patch needs no second copy
        to_image: Any  # numpy cannot type an index that is unpacked
        to_target: Any
        to_image, to_target, rows = image, target, cohort.lookup
        if draw.flip:
            axis = case.mirror_axis
            to_image, to_target = np.flip(image, 1 + axis), np.flip(target, axis)
            rows = rows if cohort.mirrored is None else cohort.mirrored
        if any(p > n for p, n in zip(self.patch_size, case.shape, strict=True)):
            image.fill(self.outside_value)
            target.fill(rows[0])
        for channel, source in enumerate(self._channels[draw.cohort][draw.case]):
            if source is None:
                image[channel] = np.nan
            else:
                to_image[channel, *place] = case.images[source, *inside]
        to_target[*place] = rows.take(case.target[*inside])
        if self.noise_sd > 0:
            image += self._noise[draw.noise_start : draw.noise_start + image.size].reshape(image.shape)


class _Brain:
    """Finds the voxels of a mask by number: a list of them would take half as much memory as an image.

    Parameters
    ----------
    mask
        (X, Y, Z) bool.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.rows = mask.reshape(-1, mask.shape[2])
        self.ends = self.rows.sum(axis=1, dtype=np.int32).cumsum()

    def voxel(self, number: float) -> int:
        """Return the flat index of a voxel of the mask, chosen by a number in [0, 1)."""
        at = int(number * int(self.ends[-1]))
        row = int(np.searchsorted(self.ends, at, side="right"))
        inside = np.flatnonzero(self.rows[row])
        return row * self.rows.shape[1] + int(inside[at - int(self.ends[row])])  # counted from the end of its row


def _choose(items: Sequence[int] | np.ndarray, number: float) -> int:
    """Choose an item by a number in [0, 1)."""
    return items[int(number * len(items))]


def _shares(weights: Sequence[float]) -> list[float]:
    """Return for each of some things the share of those up to it, by weight; nothing if all weigh the same."""
    if len(set(weights)) < 2:
        return [0.0] * len(weights)
    ends = np.cumsum(weights)
    return [float(end) for end in ends / ends[-1]]


def _weighted(shares: Sequence[float], number: float) -> int:
    """Choose a place by a number in [0, 1) and the result of `_shares`."""
    if not shares[-1]:
        return int(number * len(shares))
    return bisect.bisect_right(shares, number)


def _corner(voxel: int, patch: int, size: int, number: float) -> int:
    """Choose the first index of a patch that contains `voxel` and stays inside the volume if it fits."""
    if patch >= size:
        return -((patch - size) // 2)  # the whole axis, centred
    low, high = max(voxel - patch + 1, 0), min(voxel, size - patch)
    return low + int(number * (high - low + 1))
