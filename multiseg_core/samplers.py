"""Patches for training (thesis 3.4 and 3.6).

Each patch is drawn in five steps: a cohort, a case of it, a drawn label present in the case, a voxel of that label,
and a patch that contains the voxel, all uniformly. Then it is mirrored with probability 1/2 and gets Gaussian noise.
All random numbers of a step come from (seed, step), so any batch can be made again, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .errors import UserError
from .store import StoredCase


@dataclass(frozen=True)
class SamplingCohort:
    """A training cohort as the sampler sees it.

    Attributes
    ----------
    cases
        Its stored cases.
    lookup
        Positions in the cases' `sets` -> rows of the network's label space, uint8.
    channels
        Channel numbers of the modalities to read.
    """

    cases: Sequence[StoredCase]
    lookup: np.ndarray
    channels: Sequence[int]


@dataclass(frozen=True)
class PatchDraw:
    """Everything that determines one patch.

    Attributes
    ----------
    cohort, case
        Numbers of the cohort and of the case within it.
    label
        Position of the aimed label in the case's `sets`.
    voxel
        The aimed voxel, (3,).
    corner
        First voxel of the patch, (3,); negative if the volume is smaller than the patch.
    flip
        Mirror the first (left-right) axis.
    noise_seed
        Seed of the additive noise, None for no noise.
    """

    cohort: int
    case: int
    label: int
    voxel: tuple[int, ...]
    corner: tuple[int, ...]
    flip: bool
    noise_seed: int | None


class PatchSampler:
    """Draws batches of patches from the store.

    Parameters
    ----------
    cohorts
        Training cohorts. Cases without any drawn label are never drawn.
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

    Raises
    ------
    UserError
        If a cohort has no case with a drawn label.
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
    ) -> None:
        self.cohorts = cohorts
        self.patch_size = tuple(patch_size)
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.noise_sd = noise_sd
        self.outside_value = outside_value
        self._usable = [[i for i, case in enumerate(c.cases) if case.voxels] for c in cohorts]
        for cohort, usable in zip(cohorts, self._usable, strict=True):
            if not usable:
                names = sorted({case.cohort for case in cohort.cases}) or ["?"]
                raise UserError(f"cohort {names[0]}: none of {len(cohort.cases)} cases carries a label to sample")

    def draw(self, step: int) -> list[PatchDraw]:
        """Draw what determines the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        draws = []
        for _ in range(self.batch_size):
            k = int(rng.integers(len(self.cohorts)))
            i = int(rng.choice(self._usable[k]))
            case = self.cohorts[k].cases[i]
            label = int(rng.choice(sorted(case.voxels)))
            voxels = case.voxels[label]
            voxel = np.unravel_index(int(voxels[rng.integers(len(voxels))]), case.shape)
            corner = tuple(
                _draw_corner(rng, int(v), p, n) for v, p, n in zip(voxel, self.patch_size, case.shape, strict=True)
            )
            flip = bool(rng.random() < 0.5) and self.flip
            noise_seed = int(rng.integers(2**63)) if self.noise_sd > 0 else None
            draws.append(PatchDraw(k, i, label, tuple(int(v) for v in voxel), corner, flip, noise_seed))
        return draws

    def patch(self, draw: PatchDraw) -> tuple[np.ndarray, np.ndarray]:
        """Make the patch of a draw: image (M, *patch) float32 and target rows (*patch) uint8, both new arrays."""
        cohort = self.cohorts[draw.cohort]
        case = cohort.cases[draw.case]
        inside, place = [], []
        for start, p, n in zip(draw.corner, self.patch_size, case.shape, strict=True):
            low, high = max(start, 0), min(start + p, n)
            inside.append(slice(low, high))
            place.append(slice(low - start, high - start))
        image = np.full((len(cohort.channels), *self.patch_size), self.outside_value, dtype=np.float32)
        target = np.full(self.patch_size, cohort.lookup[0], dtype=np.uint8)
        for channel, source in enumerate(cohort.channels):
            image[channel, *place] = case.images[source, *inside]
        target[*place] = cohort.lookup[case.target[*inside]]
        if draw.flip:
            image, target = image[:, ::-1], target[::-1]
        if draw.noise_seed is not None:
            noise = np.random.default_rng(draw.noise_seed).standard_normal(image.shape, dtype=np.float32)
            image = image + self.noise_sd * noise
        return np.ascontiguousarray(image), np.ascontiguousarray(target)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch of a step: images (N, M, *patch) float32 and target rows (N, *patch) int64."""
        images, targets = zip(*(self.patch(draw) for draw in self.draw(step)), strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets)).long()


def _draw_corner(rng: np.random.Generator, voxel: int, patch: int, size: int) -> int:
    """Draw the first index of a patch that contains `voxel` and stays inside the volume if it fits."""
    if patch >= size:
        return -((patch - size) // 2)  # the whole axis, centred
    low, high = max(voxel - patch + 1, 0), min(voxel, size - patch)
    return int(rng.integers(low, high + 1))
