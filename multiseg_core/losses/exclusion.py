"""Selective cross-entropy with a penalty on what cannot be: the exclusion loss (Shi et al. 2021)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .cross_entropy import SelectiveCrossEntropy
from .dice import probability_mass


class SelectiveExclusion(SelectiveCrossEntropy):
    """Selective cross-entropy plus the overlap of each class with the voxels that are known not to be of it.

    For class c, let e_c be 1 where a voxel's row does not hold c. Added is the mean over classes, background included,
    of the soft Dice coefficient of p_c and e_c, 2 sum p_c e_c / (sum p_c + sum e_c), counts pooled over the batch: 0 if
    nothing is predicted where it cannot be. A class of which no voxel of the batch says that it is not there adds 0.

    Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ segmentation, Medical Image
    Analysis 70, 2021, with its Dice-like exclusion loss.

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    weight
        Of the added term.
    epsilon
        Added to its denominator.
    """

    def __init__(self, membership: Tensor, weight: float = 1.0, epsilon: float = 1e-5) -> None:
        super().__init__(membership)
        self.weight = weight
        self.epsilon = epsilon

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        selective = super().forward(logits, target)
        p = F.softmax(self._check(logits, target), dim=1)
        mass, voxels = probability_mass(p, target, len(self.membership))
        mass, voxels = mass.sum(0), voxels.sum(0)  # (R, C) and (R,)
        excluded = (~self.membership).to(p.dtype)  # (R, C)
        overlap, impossible = (mass * excluded).sum(0), voxels @ excluded
        coefficient = 2 * overlap / (mass.sum(0) + impossible + self.epsilon)
        return selective + self.weight * coefficient.mean()
