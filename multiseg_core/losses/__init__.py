"""Losses for targets that hold label sets: one file each, all called as ``loss(logits, target)``.

A loss is made of a boolean membership matrix (R, C), see `multiseg_core.labels.LabelSpace.membership`. A new loss is a
file here and a name below.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..utils.errors import UserError, one_line, suggest
from .cross_entropy import PatchwiseSelectiveCrossEntropy, SelectiveCrossEntropy
from .dice import SelectiveDice, SoftDice

__all__ = ["PatchwiseSelectiveCrossEntropy", "SelectiveCrossEntropy", "SelectiveDice", "SoftDice"]


def build_loss(name: str, membership: torch.Tensor, options: Mapping[str, Any]) -> nn.Module:
    """Build a loss of this package by name. Raises `UserError` for an unknown name or option."""
    if name not in __all__:
        raise UserError(f"loss: unknown name '{name}'{suggest(name, __all__)}")
    try:
        made: nn.Module = globals()[name](membership, **options)
    except TypeError as error:
        raise UserError(f"loss: {name}: {one_line(error)}") from None
    return made
