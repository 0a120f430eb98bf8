"""Losses for targets that hold label sets: one file each, all called as ``loss(logits, target)``.

A loss is made of a boolean membership matrix (R, C), see `multiseg_core.labels.LabelSpace.membership`. A new loss is a
file here and a name below; losses of MONAI and torch, for complete labels, are made selective by a wrapper.
"""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import UserError, one_line, suggest
from .cross_entropy import PatchwiseSelectiveCrossEntropy, SelectiveCrossEntropy, class_weights
from .dice import SelectiveDice, SoftDice
from .exclusion import SelectiveExclusion
from .selective import Selective
from .sigmoid import SelectiveSigmoid


@dataclass(frozen=True)
class Entry:
    """A loss of this package: its class, the head that it is for, and modules of its code beside those of its class."""

    made_by: type[nn.Module]
    head: str = "softmax"
    modules: tuple[str, ...] = ()


LOSSES: Mapping[str, Entry] = {
    "PatchwiseSelectiveCrossEntropy": Entry(PatchwiseSelectiveCrossEntropy),
    "SelectiveCrossEntropy": Entry(SelectiveCrossEntropy),
    "SelectiveDice": Entry(SelectiveDice),
    "SelectiveExclusion": Entry(SelectiveExclusion, modules=(SoftDice.__module__,)),
    "SelectiveSigmoid": Entry(SelectiveSigmoid, head="sigmoid"),
    "SoftDice": Entry(SoftDice),
}
"""Losses of this package by name; in a params file, ``monai.NAME`` and ``torch.NAME`` stand for those of others."""

__all__ = ["Selective", "class_weights", *LOSSES]

OTHERS = Entry(Selective, modules=(class_weights.__module__,))
"""Losses of MONAI and torch."""


def build_loss(
    name: str, membership: torch.Tensor, options: Mapping[str, Any], voxels: Sequence[int] | None = None
) -> nn.Module:
    """Build a loss by name: of this package, or one of ``monai.losses`` or ``torch.nn`` made selective.

    An option ``weights``, or ``weight`` of others' losses, that is no number, see `class_weights`, is turned into
    numbers by the `voxels` of each class (C,); equal ones if they are not given, to try whether all can be built.
    Losses of MONAI get ``softmax=True`` (or ``use_softmax``) and ``to_onehot_y=True``, unless options say otherwise.

    Raises
    ------
    UserError
        For an unknown name or option.
    """
    library, dot, kind = name.partition(".")
    foreign = dot and library in ("monai", "torch")
    if not foreign and name not in LOSSES:
        raise UserError(f"loss: unknown name '{name}'{suggest(name, LOSSES)}")
    key = "weight" if foreign else "weights"
    if by_voxels(options):
        try:
            found = class_weights(options[key], [1] * membership.shape[1] if voxels is None else voxels)
        except ValueError as error:
            raise UserError(f"loss: {name}: {error}") from None
        options = {**options, key: torch.tensor(found) if foreign else found}
    if foreign:
        return _build_foreign(name, library, kind, membership, options)
    try:
        made: nn.Module = LOSSES[name].made_by(membership, **options)
    except TypeError as error:
        raise UserError(f"loss: {name}: {one_line(error)}") from None
    return made


def by_voxels(options: Mapping[str, Any]) -> bool:
    """Whether a loss weighs its classes by the numbers of their voxels."""
    return any(isinstance(options.get(key), str | Mapping) for key in ("weight", "weights"))


def _build_foreign(
    name: str, library: str, kind: str, membership: torch.Tensor, options: Mapping[str, Any]
) -> nn.Module:
    known = importlib.import_module({"monai": "monai.losses", "torch": "torch.nn"}[library])  # slow
    found = getattr(known, kind, None)
    losses = [n for n in dir(known) if n.endswith("Loss") and inspect.isclass(getattr(known, n))]
    if kind not in losses:
        raise UserError(f"loss: unknown name '{name}'{suggest(name, [f'{library}.{n}' for n in losses])}")
    takes = inspect.signature(found).parameters  # type: ignore[arg-type]
    for key in options:
        if key not in takes:
            raise UserError(f"loss: {name} has no option '{key}'{suggest(key, takes)}")
    usual = {key: True for key in ("softmax", "use_softmax", "to_onehot_y") if library == "monai" and key in takes}

    def make(n_classes: int) -> nn.Module:
        given = {**usual, **({"num_classes": n_classes} if "num_classes" in takes else {}), **options}
        try:
            made: nn.Module = found(**given)  # type: ignore[misc]
        except (TypeError, ValueError) as error:
            raise UserError(f"loss: {name}: {one_line(error)}") from None
        return made

    probabilities = library == "monai" and not {"softmax", "use_softmax"} & takes.keys()
    loss = make if "num_classes" in takes else make(membership.shape[1])
    selective = Selective(loss, membership, library == "monai", probabilities)
    if selective.candidates and not isinstance(options.get("weight"), float | int | None):
        raise UserError(
            f"loss: {name}: a weight per class needs cohorts that draw all labels; some classes are merged here"
        )
    return selective


def loss_modules(name: str) -> list[str]:
    """Return the modules that hold the code of a loss in this package: its own, and those that it builds on."""
    entry = LOSSES.get(name, OTHERS)
    own = {c.__module__ for c in entry.made_by.__mro__ if c.__module__.startswith(__name__)}
    return sorted({*own, *entry.modules})
