"""Cross-entropy on label sets: -log of the summed probability of a voxel's set (thesis eq. 13 to 15)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .label_sets import LabelSetLoss


def _plain_set_cross_entropy(logits: Tensor, target: Tensor, members: Tensor) -> Tensor:
    """Mean of -log of the summed probability of each voxel's set, in log space throughout.

    Parameters
    ----------
    logits
        (N, C, *spatial)
    target
        (N, *spatial) row numbers
    members
        (N, R, C) bool: the classes that row r allows in sample n
    """
    log_p = F.log_softmax(logits, dim=1)  # (N, C, *spatial)
    sample = torch.arange(len(target), device=target.device).view(-1, *[1] * (target.ndim - 1))
    allowed = members[sample, target].movedim(-1, 1)  # (N, C, *spatial)
    return -torch.logsumexp(log_p.masked_fill(~allowed, -torch.inf), dim=1).mean()


class _SetCrossEntropy(torch.autograd.Function):
    """The same number as `_plain_set_cross_entropy`, several times faster on a CPU and with less memory.

    With p = softmax(z) and the set S of a voxel, its loss is l = -log m, m = sum of p_c over c in S. As
    dp_c/dz_j = p_c ([c = j] - p_j),

        dl/dz_j = -(1/m) sum_{c in S} p_c ([c = j] - p_j) = p_j - [j in S] p_j / m.

    For a set of one class, p_j / m = 1: one number of each voxel's gradient differs from p, and one `gather` and
    one `scatter` do for all such voxels. Larger sets are treated per sample and row, and only where they occur: most
    patches come from one cohort, which has one background row. The exponentials are computed once, for p, where
    log-softmax needs them again in its backward pass.

    Where m is too small for float32 to hold its ratio to p (logits more than 40 apart), l and the second
    term are computed from logits shifted within the set, l = log sum_all e^z - log sum_S e^z and
    p_j / m = softmax of z over S.
    """

    TINY = 1e-18

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, members: Tensor) -> Tensor:
        n_classes = logits.shape[1]
        p = torch.softmax(logits, dim=1)
        single = target < n_classes
        own = target.clamp(max=n_classes - 1)
        mass = p.gather(1, own.unsqueeze(1)).squeeze(1)  # (N, *spatial)
        large: list[tuple[int, Tensor, list[slice]]] = []  # sample, voxels (*spatial) bool, classes
        for n in (~single).flatten(1).any(dim=1).nonzero().flatten().tolist():
            for row in range(n_classes, members.shape[1]):
                here = target[n] == row
                if here.any():
                    classes = _slices(members[n, row].tolist())
                    mass[n] = torch.where(here, sum(p[n, part].sum(0) for part in classes), mass[n])
                    large.append((n, here, classes))
        loss = -mass.log()
        tiny = (mass < _SetCrossEntropy.TINY).nonzero(as_tuple=True)
        ratio = None
        if len(tiny[0]):
            z = logits.movedim(1, -1)[tiny]  # (K, C)
            within = z.masked_fill(~members[tiny[0], target[tiny]], -torch.inf)
            loss[tiny] = z.logsumexp(1) - within.logsumexp(1)
            ratio = within.softmax(1)
        ctx.save_for_backward(p, own, single, mass)
        ctx.large, ctx.tiny, ctx.ratio = large, tiny, ratio
        return loss.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        p, own, single, mass = ctx.saved_tensors
        scale = grad_output / own.numel()
        grad = p * scale
        grad.scatter_add_(1, own.unsqueeze(1), (single * -scale).unsqueeze(1))
        for n, here, classes in ctx.large:
            weight = torch.where(here, scale / mass[n], 0)
            for part in classes:
                grad[n, part].addcmul_(p[n, part], weight, value=-1)
        if ctx.ratio is not None:
            exact = p.movedim(1, -1)[ctx.tiny] - ctx.ratio
            grad.movedim(1, -1)[ctx.tiny] = scale * exact
        return grad, None, None


def _slices(chosen: list[bool]) -> list[slice]:
    """Return the runs of consecutive chosen classes; slices of a tensor need no copy."""
    numbers = itertools.groupby(range(len(chosen)), key=chosen.__getitem__)
    return [slice(run[0], run[-1] + 1) for is_chosen, group in numbers if is_chosen for run in [list(group)]]


def _set_cross_entropy(logits: Tensor, target: Tensor, members: Tensor) -> Tensor:
    """Choose the way for the device: the fast one asks which rows occur, for which a GPU would have to wait."""
    if logits.device.type == "cpu":
        return _SetCrossEntropy.apply(logits, target, members)
    return _plain_set_cross_entropy(logits, target, members)


class SelectiveCrossEntropy(LabelSetLoss):
    """Cross-entropy on label sets: the mean over voxels of -log sum of p over the classes of the voxel's row.

    On rows that hold one class it is ordinary cross-entropy. On the background row of a cohort that does not
    annotate everything it is the selective cross-entropy of the thesis (eq. 14-15): the classes that the cohort
    does not annotate are merged into one. A voxel whose row holds all classes costs nothing.

    Elsewhere called marginal cross-entropy (Shi et al. 2021) or adaptive cross-entropy (Roulet et al. 2019).

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    weights
        Of the classes, (C,): the loss is then the weighted mean over voxels. A set counts as its background, or without
        background as the mean of its classes. In a params file ``frequency``, ``effective_number`` or
        ``{effective_number: 0.999}`` stand for weights by the voxels that were drawn in the training cases, see
        `class_weights`.
    label_smoothing
        Share of a voxel's target that goes to all classes alike; none of one that may be anything.
    """

    weights: Tensor
    row_weights: Tensor

    def __init__(
        self, membership: Tensor, weights: Sequence[float] | Tensor | None = None, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(membership)
        if not 0 <= label_smoothing < 1:
            raise TypeError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.is_plain = weights is None and not label_smoothing
        self.label_smoothing = label_smoothing
        given = torch.ones(self.n_classes) if weights is None else torch.as_tensor(weights, dtype=torch.float32)
        if given.shape != (self.n_classes,) or not bool((given > 0).all()):
            raise TypeError(f"weights must be {self.n_classes} numbers above 0, one per class")
        members = self.membership.float()
        means = members @ given / members.sum(dim=1)
        self.register_buffer("weights", given, persistent=False)
        self.register_buffer("row_weights", torch.where(self.membership[:, 0], given[0], means), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        logits = self._check(logits, target)
        if self.is_plain:
            return _set_cross_entropy(logits, target, self.membership.expand(len(target), -1, -1))
        log_p = F.log_softmax(logits, dim=1)
        allowed = self.membership[target].movedim(-1, 1)
        own = -torch.logsumexp(log_p.masked_fill(~allowed, -torch.inf), dim=1)
        weight = self.row_weights.to(log_p.dtype)[target]
        says_something = ~self.membership.all(dim=1)[target]
        weights = self.weights.to(log_p.dtype).view(1, -1, *[1] * (log_p.ndim - 2))
        everywhere = -(weights * log_p).mean(dim=1) * says_something
        total = (1 - self.label_smoothing) * weight * own + self.label_smoothing * everywhere
        result: Tensor = total.sum() / weight.sum()
        return result


def class_weights(how: str | Mapping[str, float], voxels: Sequence[int]) -> list[float]:
    """Return weights of classes by the numbers of their voxels, of mean 1 over those that occur.

    Parameters
    ----------
    how
        ``frequency``: 1 / n. ``effective_number``: (1 - b) / (1 - b^n) with b = (N - 1) / N for N voxels in all (Cui et
        al. 2019), which is 1 / n for rare classes and less steep for frequent ones. ``{effective_number: b}``: with
        this b, by which classes of more than some 1 / (1 - b) voxels weigh the same.
    voxels
        Of each class; a class without any gets the weight 1.

    Raises
    ------
    ValueError
        For another `how`.
    """
    n = np.asarray(voxels, dtype=np.float64)
    beta: object = None
    if isinstance(how, Mapping) and len(how) == 1:
        ((how, beta),) = how.items()
        if how != "effective_number" or not isinstance(beta, float | int) or not 0 <= beta < 1:
            raise ValueError(f"weights: only effective_number takes a number, in [0, 1), got {how}: {beta}")
    if how not in WEIGHTS:
        raise ValueError(f"weights must be {' or '.join(WEIGHTS)}, or numbers, got '{how}'")
    occurs = n > 0
    n = np.maximum(n, 1)
    if how == "frequency":
        raw = 1 / n
    else:
        rest = 1 - float(beta) if isinstance(beta, float | int) else 1 / max(n[occurs].sum(), 2.0)
        raw = rest / -np.expm1(n * np.log1p(-rest))
    return np.where(occurs, raw / raw[occurs].mean() if occurs.any() else 1.0, 1.0).tolist()


WEIGHTS = ("frequency", "effective_number")
"""Weights that follow from the numbers of voxels."""


class PatchwiseSelectiveCrossEntropy(LabelSetLoss):
    """The selective cross-entropy of the thesis's own program, for comparison.

    There "the classes present" (eq. 14) are those of the *patch*, not of the cohort: a voxel whose row is a
    background row (it holds background and other classes, but not all) pays -log of the summed probability of
    all classes of which the same patch has no properly labelled voxel. So a patch without lesion teaches nothing
    about lesions, and a label absent from the patch is not penalised. Other rows, and patches in which every class is
    labelled, cost what they cost in `SelectiveCrossEntropy`. The original also clips the sum at 0.1, which
    stops the gradient; that is left out.

    Parameters
    ----------
    membership
        bool tensor (R, C), first C rows the identity.
    """

    is_background_row: Tensor

    def __init__(self, membership: Tensor) -> None:
        super().__init__(membership)
        size = self.membership.sum(dim=1)
        self.register_buffer(
            "is_background_row", self.membership[:, 0] & (size > 1) & (size < self.n_classes), persistent=False
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss for logits (N, C, *spatial) and target (N, *spatial)."""
        logits = self._check(logits, target)
        present = torch.stack([(target == c).flatten(1).any(dim=1) for c in range(self.n_classes)], dim=1)
        absent = ~present  # (N, C)
        changed = self.is_background_row & absent.any(dim=1, keepdim=True)  # (N, R)
        members = torch.where(changed.unsqueeze(-1), absent.unsqueeze(1), self.membership)  # (N, R, C)
        return _set_cross_entropy(logits, target, members)
