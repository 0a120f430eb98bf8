"""Patches made on the device that trains: all data lie there, and batches are those of `samplers`, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .compute import Compute
from .samplers import Batch, PatchSampler, SamplingCohort


class ResidentSampler(PatchSampler):
    """The same batches, bit for bit, made on a device that holds all the data: no patch crosses the bus.

    Takes the arguments of `PatchSampler` and the device. The host still draws what determines a batch, some numbers
    per patch; cutting, mirroring and noise are three look-ups in arrays on the device.

    Raises
    ------
    UserError
        As `PatchSampler`.
    torch.OutOfMemoryError
        If the data do not fit, see `bytes_needed`.
    """

    def __init__(self, *arguments: Any, device: torch.device, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.device = device
        images, targets, starts, shapes = [], [], [], []
        first = 0
        for cohort, channels in zip(self.cohorts, self._channels, strict=True):
            for case, of_case in zip(cohort.cases, channels, strict=True):
                held = [np.full(case.shape, np.nan, np.float32) if c is None else case.images[c] for c in of_case]
                images.append(torch.from_numpy(np.stack(held)).flatten(1).to(device))
                targets.append(torch.from_numpy(case.target.astype(np.uint8)).flatten().to(device))
                starts.append(first)
                shapes.append(case.shape)
                first += math.prod(case.shape)
        self._images = torch.cat(images, dim=1)  # (M, voxels of all cases)
        self._targets = torch.cat(targets)  # positions in the cases' sets
        n_sets = max(len(cohort.lookup) for cohort in self.cohorts)
        rows = np.zeros((2, len(self.cohorts), n_sets), dtype=np.uint8)
        for k, cohort in enumerate(self.cohorts):
            rows[0, k, : len(cohort.lookup)] = cohort.lookup
            rows[1, k, : len(cohort.lookup)] = cohort.lookup if cohort.mirrored is None else cohort.mirrored
        self._rows = torch.from_numpy(rows).to(device)  # plain and mirrored
        self._starts, self._shapes = starts, shapes
        self._first_case = np.cumsum([0, *(len(cohort.cases) for cohort in self.cohorts)])
        self._device_noise = torch.from_numpy(self._noise).to(device)
        self._axes = [torch.arange(p, device=device) for p in self.patch_size]
        n_numbers = len(self.cohorts[0].modalities) * math.prod(self.patch_size)
        self._in_patch = torch.arange(n_numbers, device=device).view(-1, *self.patch_size)

    @staticmethod
    def bytes_needed(cohorts: Sequence[SamplingCohort]) -> int:
        """Return the size of the data on the device: images in float32 and targets in bytes."""
        return sum((4 * len(c.modalities) + 1) * math.prod(case.shape) for c in cohorts for case in c.cases)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, images and target on the device."""
        rows, draws = [], self.draw(step)
        for draw in draws:
            at = int(self._first_case[draw.cohort]) + draw.case
            mirrored = [axis == self.cohorts[draw.cohort].cases[draw.case].mirror_axis for axis in range(3)]
            turned = [draw.flip and this for this in mirrored]
            rows.append([self._starts[at], *self._shapes[at], *draw.corner, *turned, draw.cohort, draw.noise_start])
        table = torch.tensor(rows)  # all that crosses the bus
        if self.device.type == "cuda":
            table = table.pin_memory().to(self.device, non_blocking=True)
        start, size, corner, flip, cohort, noise = table.split([1, 3, 3, 3, 1, 1], dim=1)
        offsets = [torch.where(flip[:, a, None] > 0, at.flip(0), at) for a, at in enumerate(self._axes)]
        index = torch.zeros(1, dtype=torch.int64, device=self.device)
        inside = torch.ones(1, dtype=torch.bool, device=self.device)
        for axis, offset in enumerate(offsets):
            view = [-1, *(len(self._axes[a]) if a == axis else 1 for a in range(3))]
            place = corner[:, axis, None] + offset  # (N, patch)
            n = size[:, axis, None]
            inside = inside & ((place >= 0) & (place < n)).view(view)
            index = index * n.view(-1, 1, 1, 1) + place.clamp(min=0).minimum(n - 1).view(view)
        index = index + start.view(-1, 1, 1, 1)  # (N, *patch)
        images = self._images[:, index].movedim(0, 1)  # (N, M, *patch)
        images = torch.where(inside[:, None], images, self.outside_value)
        if self.noise_sd > 0:
            images = images + self._device_noise[noise.view(-1, 1, 1, 1, 1) + self._in_patch]
        positions = torch.where(inside, self._targets[index], 0).long()  # what is beyond a volume is its background
        way, of = (column.view(-1, 1, 1, 1) for column in (flip.amax(1), cohort))
        return Batch(images, self._rows[way, of, positions].long(), *self._origin(draws))


def make_sampler(compute: Compute, cohorts: Sequence[SamplingCohort], *arguments: Any, **options: Any) -> PatchSampler:
    """Return the sampler for a device: one with the data on the GPU, if they take less than half of its free memory.

    Takes the arguments of `PatchSampler`. Both samplers give the same batches.
    """
    if compute.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(compute.device)
        if ResidentSampler.bytes_needed(cohorts) < free / 2:
            return ResidentSampler(cohorts, *arguments, device=compute.device, **options)
    return PatchSampler(cohorts, *arguments, **options)
