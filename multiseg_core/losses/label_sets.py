"""What all losses on label sets share: the membership matrix, and the check of every call.

Every loss is called as ``loss(logits, target)`` with logits of shape (N, C, *spatial) and an int64 target of
shape (N, *spatial) that holds row numbers of a boolean membership matrix (R, C). The first C rows are the
identity, so a target of plain class numbers is a valid target, and the naive models of the thesis are the same
losses on such targets. All spatial ranks work. Computation is in float32, or float64 for float64 logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LabelSetLoss(nn.Module):
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
        """C."""
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
