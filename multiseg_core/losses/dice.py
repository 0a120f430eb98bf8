"""Dice losses on label sets, on soft counts of every set (thesis eq. 16 to 21)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .label_sets import LabelSetLoss


def probability_mass(p: Tensor, target: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Sum the probabilities over the voxels of each row.

    All soft counts of Dice-like losses are sums of these few numbers, and so is their gradient: voxels of one row
    get the same gradient with respect to p.

    Parameters
    ----------
    p
        probabilities (N, C, *spatial)
    target
        row numbers (N, *spatial)

    Returns
    -------
    mass, voxels
        (N, R, C) sum of p_c over the voxels of row r, and (N, R) their number.
    """
    rows = torch.arange(n_rows, device=p.device, dtype=torch.uint8).view(1, -1, 1)
    flat = target.flatten(1).to(torch.uint8).unsqueeze(1)  # (N, 1, V)
    in_row = torch.eq(flat, rows, out=p.new_empty(len(target), n_rows, flat.shape[-1]))  # (N, R, V), 0 or 1
    # classes first, so that the gradient with respect to p comes out in p's own order
    return torch.bmm(p.flatten(2), in_row.transpose(1, 2)).transpose(1, 2), in_row.sum(-1)


def _soft_counts(p: Tensor, target: Tensor, membership: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Soft overlap of each row's summed probability with the target.

    A voxel counts as part of row r if its own row is a subset of r, as outside if the two share no class, and
    not at all if neither is certain.

    Parameters
    ----------
    p
        probabilities (N, C, *spatial)
    target
        row numbers (N, *spatial)
    rows
        the K row numbers to count, (K,)

    Returns
    -------
    overlap, predicted, true, labelled
        (N, K) each: sums over voxels of p*y, p and y (eq. 16-19), and the number of voxels of just this row.
    """
    sets = membership.to(p.dtype)  # CUDA has no matrix product of integers; counts of classes are exact in float32
    shared = sets @ sets[rows].T  # (R, K) classes shared by two rows
    inside = shared == sets.sum(dim=1, keepdim=True)  # (R, K)
    known = inside | (shared == 0)
    mass, voxels = probability_mass(p, target, len(membership))
    mass = mass @ sets[rows].T  # (N, R, K) summed over the classes of row k
    inside, known = inside.to(p.dtype), known.to(p.dtype)
    return (mass * inside).sum(1), (mass * known).sum(1), voxels @ inside, voxels[:, rows]


class _DiceLoss(LabelSetLoss):
    """Adds what both Dice losses need: epsilon, and the rows that do not hold background."""

    foreground: Tensor

    def __init__(self, membership: Tensor, epsilon: float = 1e-5) -> None:
        super().__init__(membership)
        self.epsilon = epsilon
        # the C - 1 foreground classes first, then coarse labels
        self.register_buffer("foreground", (~self.membership[:, 0]).nonzero().flatten(), persistent=False)


class SoftDice(_DiceLoss):
    """1 - mean over foreground classes of the soft Dice coefficient, counts pooled over the batch (eq. 16-20).

    On plain targets (rows below C) it equals `monai.losses.DiceLoss(include_background=False, softmax=True,
    to_onehot_y=True, batch=True, smooth_nr=0)`. Voxels whose row leaves open whether they belong to a class
    are left out of that class's counts. A coarse row without background (such as "a or b") that
    occurs in the batch adds a term of its own, on the summed probability of its classes.

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    epsilon
        Added to the denominator, so that a class absent from truth and prediction has coefficient 0.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        p = F.softmax(self._check(logits, target), dim=1)
        counts = _soft_counts(p, target, self.membership, self.foreground)
        overlap, predicted, true, labelled = (count.sum(0) for count in counts)
        dice = 2 * overlap / (predicted + true + self.epsilon)  # (K,)
        counted = (self.foreground < self.n_classes) | (labelled > 0)
        return 1 - (dice * counted).sum() / counted.sum()


class SelectiveDice(_DiceLoss):
    """Per patch, 1 - mean soft Dice over the foreground labels *present in its ground truth* (eq. 21).

    The scalar is the mean over patches. A patch without any foreground label costs 0 and gives no gradient. Nothing in
    it asks for background: a network may lose it altogether.

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    epsilon
        Added to the denominator.
    background
        Count the background of a patch, with whatever may hide in it, as one more label.
    """

    def __init__(self, membership: Tensor, epsilon: float = 1e-5, background: bool = False) -> None:
        super().__init__(membership, epsilon)
        if background:
            says_something = ~self.membership.all(dim=1)
            self.foreground = says_something.nonzero().flatten()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        p = F.softmax(self._check(logits, target), dim=1)
        overlap, predicted, true, labelled = _soft_counts(p, target, self.membership, self.foreground)
        dice = 2 * overlap / (predicted + true + self.epsilon)  # (N, K)
        present = labelled > 0
        per_patch = (present * (1 - dice)).sum(1) / present.sum(1).clamp(min=1)
        return per_patch.mean()
