"""Losses for targets that hold label sets.

Every loss is called as ``loss(logits, target)`` with logits of shape (N, C, *spatial) and an int64 target of
shape (N, *spatial) that holds row numbers of a boolean membership matrix (R, C). The first C rows are the
identity, so a target of plain class numbers is a valid target, and the naive models of the thesis are the same
losses on such targets. All spatial ranks work. Computation is in float32, or float64 for float64 logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SelectiveCrossEntropy", "PatchwiseSelectiveCrossEntropy", "SoftDice", "SelectiveDice"]


class _LabelSetLoss(nn.Module):
    """Holds and checks the membership matrix, and the arguments of every call."""

    membership: Tensor

    def __init__(self, membership: Tensor) -> None:
        super().__init__()
        membership = torch.as_tensor(membership)
        if membership.dtype != torch.bool or membership.ndim != 2 or membership.shape[0] < membership.shape[1]:
            raise ValueError("membership must be a bool tensor (R, C) with R >= C")
        n_classes = membership.shape[1]
        if not torch.equal(membership[:n_classes], torch.eye(n_classes, dtype=torch.bool, device=membership.device)):
            raise ValueError("the first C rows of membership must be the identity")
        if not bool(membership.any(dim=1).all()):
            raise ValueError("a row of membership holds no class")
        self.register_buffer("membership", membership, persistent=False)

    @property
    def n_classes(self) -> int:
        return self.membership.shape[1]

    def _check(self, logits: Tensor, target: Tensor) -> Tensor:
        """Check shapes and return the logits in at least float32."""
        if logits.ndim < 3 or logits.shape[1] != self.n_classes:
            raise ValueError(f"logits must be (N, {self.n_classes}, *spatial), got {tuple(logits.shape)}")
        if target.shape != logits.shape[:1] + logits.shape[2:]:
            raise ValueError(f"target {tuple(target.shape)} does not fit logits {tuple(logits.shape)}")
        if target.dtype != torch.int64:
            raise ValueError(f"target must be int64 row numbers, got {target.dtype}")
        return logits if logits.dtype == torch.float64 else logits.float()


def _set_log_probability(log_p: Tensor, allowed: Tensor) -> Tensor:
    """log of the summed probability of the allowed classes; both (N, C, *spatial), result (N, *spatial)."""
    return torch.logsumexp(log_p.masked_fill(~allowed, -torch.inf), dim=1)


class SelectiveCrossEntropy(_LabelSetLoss):
    """Cross-entropy on label sets: the mean over voxels of -log sum of p over the classes of the voxel's row.

    On rows that hold one class it is ordinary cross-entropy. On the background row of a cohort that does not
    annotate everything it is the selective cross-entropy of the thesis (eq. 14-15): the classes that the cohort
    does not annotate are merged into one. A voxel whose row holds all classes costs nothing.

    Elsewhere called marginal cross-entropy (Shi et al. 2021) or adaptive cross-entropy (Roulet et al. 2019).

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        logits = self._check(logits, target)
        log_p = F.log_softmax(logits, dim=1)  # (N, C, *spatial)
        allowed = self.membership[target].movedim(-1, 1)  # (N, C, *spatial)
        return -_set_log_probability(log_p, allowed).mean()


class PatchwiseSelectiveCrossEntropy(_LabelSetLoss):
    """The selective cross-entropy of the thesis's own program, for comparison.

    There "the classes present" (eq. 14) are those of the *patch*, not of the cohort: a voxel whose row is a
    background row (it holds background and other classes, but not all) pays -log of the summed probability of
    all classes of which the same patch has no properly labelled voxel. So a patch without lesion teaches nothing
    about lesions, and a label absent from the patch is not penalised. Other rows, and patches in which every class is
    labelled, cost what they cost in `SelectiveCrossEntropy`. The original also clips the sum at 0.1, which stops the gradient; that is left out.

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    """

    def __init__(self, membership: Tensor) -> None:
        super().__init__(membership)
        size = self.membership.sum(dim=1)
        self.register_buffer(
            "is_background_row",
            self.membership[:, 0] & (size > 1) & (size < self.n_classes),
            persistent=False,
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        logits = self._check(logits, target)
        log_p = F.log_softmax(logits, dim=1)
        present = torch.stack([(target == c).flatten(1).any(dim=1) for c in range(self.n_classes)], dim=1)  # (N, C)
        spatial = [1] * (target.ndim - 1)
        absent = ~present
        not_present = absent.view(*absent.shape, *spatial).expand_as(log_p)
        in_row = self.membership[target].movedim(-1, 1)
        from_patch = self.is_background_row[target] & absent.any(dim=1).view(-1, *spatial)
        allowed = torch.where(from_patch.unsqueeze(1), not_present, in_row)
        return -_set_log_probability(log_p, allowed).mean()


def _soft_counts(p: Tensor, target: Tensor, membership: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
    overlap, predicted, true
        (N, K) each: sums over voxels of p*y, p and y (eq. 16-19).
    """
    sets = membership.float()  # CUDA has no matrix product of integers; counts of classes are exact in float32
    shared = sets @ sets[rows].T  # (R, K) classes shared by two rows
    inside = shared == sets.sum(dim=1, keepdim=True)  # (R, K)
    known = inside | (shared == 0)
    p = torch.einsum("nc...,kc->nk...", p, membership[rows].to(p.dtype))
    y = inside[target].movedim(-1, 1)  # (N, K, *spatial)
    counted = p * known[target].movedim(-1, 1)
    return (counted * y).flatten(2).sum(-1), counted.flatten(2).sum(-1), y.flatten(2).sum(-1).to(p.dtype)


class SoftDice(_LabelSetLoss):
    """1 - mean over foreground classes of the soft Dice coefficient, counts pooled over the batch (eq. 16-20).

    On plain targets (rows below C) it equals `monai.losses.DiceLoss(include_background=False, softmax=True,
    to_onehot_y=True, batch=True, smooth_nr=0)`. Voxels whose row leaves open whether they belong to a class
    are left out of that class's counts. A coarse row without background (such as "oedema or tumour") that
    occurs in the batch adds a term of its own, on the summed probability of its classes.

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    epsilon
        Added to the denominator, so that a class absent from truth and prediction has coefficient 0.
    """

    def __init__(self, membership: Tensor, epsilon: float = 1e-5) -> None:
        super().__init__(membership)
        self.epsilon = epsilon

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        p = F.softmax(self._check(logits, target), dim=1)
        coarse = [r for r in _foreground_rows(self.membership)[self.n_classes - 1 :] if bool((target == r).any())]
        rows = torch.tensor([*range(1, self.n_classes), *coarse], device=p.device)
        overlap, predicted, true = (count.sum(0) for count in _soft_counts(p, target, self.membership, rows))
        return 1 - (2 * overlap / (predicted + true + self.epsilon)).mean()


class SelectiveDice(_LabelSetLoss):
    """Per patch, 1 - mean soft Dice over the foreground labels *present in its ground truth* (eq. 21).

    The scalar is the mean over patches. A patch without any foreground label costs 0 and gives no gradient.

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    epsilon
        Added to the denominator.
    """

    def __init__(self, membership: Tensor, epsilon: float = 1e-5) -> None:
        super().__init__(membership)
        self.epsilon = epsilon

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        p = F.softmax(self._check(logits, target), dim=1)
        rows = torch.tensor(_foreground_rows(self.membership), device=p.device)
        present = torch.stack([(target == r).flatten(1).any(1) for r in rows.tolist()], dim=1).to(p.dtype)  # (N, K)
        overlap, predicted, true = _soft_counts(p, target, self.membership, rows)
        dice = 2 * overlap / (predicted + true + self.epsilon)  # (N, K)
        n_present = present.sum(1)
        per_patch = (present * (1 - dice)).sum(1) / n_present.clamp(min=1)
        return per_patch.mean()


def _foreground_rows(membership: Tensor) -> list[int]:
    """Rows that do not hold background: the C - 1 foreground classes first, then coarse labels."""
    return [r for r, holds_background in enumerate(membership[:, 0].tolist()) if not holds_background]
