"""Losses for targets that hold label sets: one file each, all called as ``loss(logits, target)``.

A loss is made of a boolean membership matrix (R, C), see `multiseg_core.labels.LabelSpace.membership`. A new loss is a
file here and a line below.
"""

from .cross_entropy import PatchwiseSelectiveCrossEntropy, SelectiveCrossEntropy
from .dice import SelectiveDice, SoftDice

__all__ = ["PatchwiseSelectiveCrossEntropy", "SelectiveCrossEntropy", "SelectiveDice", "SoftDice"]
