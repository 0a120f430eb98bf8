"""Pretraining without labels: a network learns to fill in what is hidden of an image (masked reconstruction).

Cubes of every patch are set to 0, the mean of a standardised image, and the error counts inside them (He et al. 2022;
for volumes Chen et al. 2023, "Masked image modeling advances 3D medical image analysis"). The network is that of the
segmentation but for its last layer, so that "pretrained or not" changes its initial weights and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from multiseg_core.models import Pretraining
from multiseg_core.samplers import Batch
from multiseg_core.training import Trainer, step_seed


def hidden_cubes(shape: Sequence[int], cube: int, share: float, seed: int) -> Tensor:
    """Choose which cubes are hidden of patches of a shape, (N, X, Y, Z): (N, 1, X, Y, Z) bool, for all modalities.

    `cube` is their edge in voxels; what one does not fit into is cut off. `share` is their part of each patch, rounded;
    one at least, and never all.
    """
    n, *sizes = shape
    counts = [-(size // -cube) for size in sizes]
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand((n, counts[0] * counts[1] * counts[2]), generator=generator).argsort(dim=1).argsort(dim=1)
    n_hidden = min(max(round(share * order.shape[1]), 1), max(order.shape[1] - 1, 1))
    mask = (order < n_hidden).view(n, 1, *counts)
    for axis, size in enumerate(sizes, start=2):
        mask = mask.repeat_interleave(cube, dim=axis).narrow(axis, 0, size)
    return mask


class PretrainingTrainer(Trainer):
    """A `Trainer` whose network has an output per modality and learns the images themselves.

    Takes the arguments of `Trainer`, with `models.Pretraining` in the place of the loss.
    """

    def __init__(self, folder: Any, network: nn.Module, how: Pretraining, *arguments: Any, **options: Any) -> None:
        super().__init__(folder, network, nn.Identity(), *arguments, **options)
        self.how = how

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the mean squared error in the hidden cubes; those of validation are always the same."""
        images = self.compute.place(batch.images)
        # validation patches come one a batch and differ: one choice of cubes does for all of them
        seed = step_seed(self.seed, self.step) if self.network.training else self.seed
        hidden = hidden_cubes((len(images), *images.shape[2:]), self.how.cube, self.how.masked, seed).to(images.device)
        with self.compute.autocast():
            found = self.network(images.masked_fill(hidden, 0))
        errors = (found.float() - images.float()) ** 2 * hidden
        loss: Tensor = errors.sum() / (hidden.sum() * images.shape[1])
        return loss
