"""Binary losses per label, each on the voxels of which it is known whether they have the label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .label_sets import LabelSetLoss


class SelectiveSigmoid(LabelSetLoss):
    """Binary cross-entropy and soft Dice of every foreground label, where a voxel's row says whether it is there.

    The logit of a label is its channel minus that of the background, see `multiseg_core.wrappers.SigmoidHead`. A row
    says yes to a label if it holds nothing else, and no if it does not hold it; what it leaves open is left out. The
    cross-entropy is the mean over what is known. The Dice term is 1 - mean over the labels of which something is known,
    counts pooled over the batch.

    Masked losses of binary heads, as in MultiTalent (Ulrich et al. 2023).

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    dice
        Weight of the Dice term.
    epsilon
        Added to its denominator.
    """

    yes: Tensor
    no: Tensor

    def __init__(self, membership: Tensor, dice: float = 1.0, epsilon: float = 1e-5) -> None:
        super().__init__(membership)
        self.dice = dice
        self.epsilon = epsilon
        foreground = self.membership[:, 1:]
        alone = self.membership.sum(dim=1, keepdim=True) == 1
        self.register_buffer("yes", foreground & alone, persistent=False)  # (R, C - 1)
        self.register_buffer("no", ~foreground, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        logits = self._check(logits, target)
        z = logits[:, 1:] - logits[:, :1]
        yes = self.yes[target].movedim(-1, 1).to(z.dtype)  # (N, C - 1, *spatial)
        known = (self.yes | self.no)[target].movedim(-1, 1).to(z.dtype)
        entropy = F.binary_cross_entropy_with_logits(z, yes, weight=known, reduction="sum")
        loss = entropy / known.sum().clamp(min=1)
        if not self.dice:
            return loss
        p = torch.sigmoid(z) * known
        axes = [0, *range(2, z.ndim)]
        coefficient = 2 * (p * yes).sum(axes) / (p.sum(axes) + yes.sum(axes) + self.epsilon)
        counted = known.sum(axes) > 0
        return loss + self.dice * (1 - (coefficient * counted).sum() / counted.sum().clamp(min=1))
