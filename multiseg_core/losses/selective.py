"""Any loss on logits, made selective: the classes that a cohort cannot tell apart are merged before the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .label_sets import LabelSetLoss


class Selective(LabelSetLoss):
    """Stands between a network and a loss for complete labels, and makes the loss one for partial labels.

    Within a cohort, the classes that share its background row cannot be told apart. They are merged into one, whose
    logit is the log-sum-exp of theirs, so that softmax gives it the sum of their probabilities (Fang and Yan 2020;
    Shi et al. 2021). The loss then runs as it is, on the merged logits and the merged target, in which the merged
    class is number 0 and the others keep their order. Patches of different cohorts are merged differently and are
    given to the loss in one call per background row; the value is the mean of these calls by their voxels. A voxel that
    its row leaves open beyond that (a coarse label, an ignored voxel) is left out, and costs nothing.

    Where all labels are single classes, the value is that of the loss. With `torch.nn.CrossEntropyLoss` it is that of
    `SelectiveCrossEntropy`, but for coarse labels, which that one uses.

    Parameters
    ----------
    loss
        Called as ``loss(logits, target)`` with logits (N, C', *spatial) and class numbers, (N, 1, *spatial) for losses
        of MONAI, else (N, *spatial) int64; returns a mean. C' is C or less; for a loss that must know how many classes
        there are, give a function from C' to the loss. What a loss does to logits, as MONAI's ``softmax=True,
        to_onehot_y=True``, is its own business.
    membership
        bool tensor (R, C), first C rows the identity.
    channel
        Give the target an axis of channels; by default for the losses of MONAI.
    probabilities
        Give the loss softmax of the logits instead, for one that does not do that itself, as MONAI's
        `AsymmetricUnifiedFocalLoss`.
    """

    def __init__(
        self,
        loss: nn.Module | Callable[[int], nn.Module],
        membership: Tensor,
        channel: bool | None = None,
        probabilities: bool = False,
    ) -> None:
        super().__init__(membership)
        numbers = range(1, 1 + self.n_classes)
        self.losses = [loss if isinstance(loss, nn.Module) else loss(n) for n in numbers]  # by number of classes
        self.channel = type(self.losses[0]).__module__.startswith("monai.") if channel is None else channel
        self.probabilities = probabilities
        size = self.membership.sum(dim=1)
        # rows that may be a cohort's background, the largest first
        candidates = (self.membership[:, 0] & (size > 1) & (size < self.n_classes)).nonzero().flatten()
        self.candidates: list[int] = candidates[size[candidates].argsort(descending=True)].tolist()
        self.tables: dict[int, tuple[list[int], list[int], Tensor]] = {row: self._table(row) for row in self.candidates}
        self.tables[-1] = self._table(0)  # a row of one class merges nothing

    def _table(self, background: int) -> tuple[list[int], list[int], Tensor]:
        """Return the classes that a background row merges, the others, and row -> merged class, -1 for open rows."""
        merged = self.membership[background].nonzero().flatten().tolist()
        others = [c for c in range(self.n_classes) if c not in merged]
        table = torch.full((len(self.membership),), -1)
        for row, members in enumerate(self.membership):
            inside = members.nonzero().flatten().tolist()
            if set(inside) <= set(merged):
                table[row] = 0
            elif len(inside) == 1:
                table[row] = 1 + others.index(inside[0])
        return merged, others, table

    def forward(self, logits: Tensor, target: Tensor, background: Tensor | None = None) -> Tensor:
        """Return the scalar loss.

        Parameters
        ----------
        logits
            (N, C, *spatial).
        target
            (N, *spatial) int64 row numbers.
        background
            (N,) int64, the background row of each patch's cohort. By default the largest background row that occurs in
            the patch; in a patch without any, all is labelled and nothing is merged.
        """
        logits = self._check(logits, target)
        rows = self._backgrounds(target) if background is None else background.tolist()
        groups = {row: [n for n, own in enumerate(rows) if own == row] for row in dict.fromkeys(rows)}
        tables = {row: self.tables[row if row in self.tables else -1] for row in groups}
        if len(groups) == 1 and len(tables[rows[0]][0]) == 1:
            parts: Sequence[Tensor] = (logits,)
        else:
            parts = _Merge.apply(logits, [(groups[row], *tables[row][:2]) for row in groups])
        total = logits.new_zeros(())
        for part, (row, which) in zip(parts, groups.items(), strict=True):
            chosen = _patches(target, which)
            # faster than an index of tensors
            classes = tables[row][2].to(target.device).index_select(0, chosen.flatten()).view_as(chosen)
            total = total + self._group(part, classes) * (len(which) / len(rows))
        return total

    def _backgrounds(self, target: Tensor) -> list[int]:
        rows = [-1] * len(target)
        if not self.candidates or int(target.max()) < min(self.candidates):
            return rows
        for row in reversed(self.candidates):
            for n in (target == row).flatten(1).sum(dim=1).nonzero().flatten().tolist():  # on a CPU, faster than any
                rows[n] = row
        return rows

    def _group(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the mean over patches with one background row, of merged logits and merged classes, -1 for open."""
        if int(classes.min()) >= 0:
            return self._value(logits, classes)
        is_open = classes < 0
        n_open = is_open.flatten(1).sum(1).tolist()
        total = logits.new_zeros(())
        complete = [n for n, voxels in enumerate(n_open) if not voxels]
        if complete:
            total = total + self._value(_patches(logits, complete), _patches(classes, complete)) * len(complete)
        for n, voxels in enumerate(n_open):
            kept = is_open[n].numel() - voxels
            if voxels and kept:  # as many axes as before: some losses ask for them
                shape = (1, -1, kept, *[1] * (logits.ndim - 3))
                part = logits[n][:, ~is_open[n]].reshape(shape)
                own = classes[n][~is_open[n]].reshape(1, kept, *[1] * (logits.ndim - 3))
                total = total + self._value(part, own) * (kept / is_open[n].numel())
        return total / len(logits)

    def _value(self, logits: Tensor, classes: Tensor) -> Tensor:
        logits = logits.softmax(1) if self.probabilities else logits
        value: Tensor = self.losses[logits.shape[1] - 1](logits, classes.unsqueeze(1) if self.channel else classes)
        return value


def _patches(x: Tensor, which: list[int]) -> Tensor:
    """Return some patches of a batch; neighbours are a view, as the gradient of an index is slow on a CPU."""
    if _are_neighbours(which):
        return x[which[0] : which[0] + len(which)]
    return x.index_select(0, torch.tensor(which, device=x.device))


def _are_neighbours(numbers: list[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _classes(x: Tensor, which: list[int]) -> Tensor:
    return x[:, which[0] : which[0] + len(which)] if _are_neighbours(which) else x[:, which]


class _Merge(torch.autograd.Function):
    """Split a batch into groups of patches and merge classes in each, without a copy of the gradient per group.

    With l = log sum of e^z over the merged classes, dl/dz_c is their softmax, of which the largest also gives l.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, groups: Sequence[tuple[list[int], list[int], list[int]]]
    ) -> tuple[Tensor, ...]:
        results, shares = [], []
        for which, merged, others in groups:
            part = _patches(logits, which)
            if len(merged) == 1:  # with others in their order: nothing changes
                results.append(part.clone())
                continue
            inside = _classes(part, merged)
            share = inside.softmax(1)
            result = part.new_empty(len(which), 1 + len(others), *part.shape[2:])
            torch.sub(inside.amax(1), share.amax(1).log_(), out=result[:, 0])
            if others:
                result[:, 1:] = _classes(part, others)
            shares.append(share)
            results.append(result)
        ctx.groups, ctx.layout = groups, (logits.shape, logits.stride())
        ctx.save_for_backward(*shares)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        first = gradients[0]
        grad = torch.empty_strided(*ctx.layout, dtype=first.dtype, device=first.device)
        shares = iter(ctx.saved_tensors)
        for gradient, (which, merged, others) in zip(gradients, ctx.groups, strict=True):
            share = next(shares) if len(merged) > 1 else None
            for n, patch in enumerate(which):
                if share is None:
                    grad[patch] = gradient[n]
                    continue
                for k, c in enumerate(merged):
                    torch.mul(share[n, k], gradient[n, 0], out=grad[patch, c])
                for place, c in enumerate(others, start=1):
                    grad[patch, c] = gradient[n, place]
        return grad, None
