"""Weights to start from: of a finished run, or of any other program, matched by names and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multiseg_core.errors import UserError
from multiseg_core.labels import BACKGROUND
from multiseg_core.wrappers import bare_name

NESTED = ("state_dict", "network_weights", "model_state_dict", "model", "net")
"""Keys under which other programs keep the tensors of a network."""


@dataclass(frozen=True)
class Source:
    """Weights of a file: tensors by name, without wrappers.

    `outputs` and `inputs` are what its last and first layer stand for, classes and modalities; None if it does not say.
    """

    weights: Mapping[str, Tensor]
    outputs: tuple[str, ...] | None = None
    inputs: tuple[str, ...] | None = None


def read_weights(path: Path) -> Source:
    """Read a run's folder or ``model.pt``, or a file that torch can load with tensors by name.

    Raises
    ------
    UserError
        Naming the file: if it is missing, holds no tensors, or is a run of several networks.
    """
    file = path / "model.pt" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign or damaged file fails in many ways
        raise UserError(f"{file}: not a file of tensors ({type(error).__name__})") from None
    outputs = inputs = None
    if isinstance(content, dict) and "members" in content:
        different = {m["spec"].get("name", "") + str(m["labels"]) + str(m["modalities"]) for m in content["members"]}
        if len(different) > 1:
            raise UserError(f"{file}: a run of {len(content['members'])} networks; give one with a single network")
        member = content["members"][0]
        first = () if member["spec"].get("head") == "sigmoid" else (BACKGROUND,)
        content, outputs, inputs = member["weights"], (*first, *member["labels"]), tuple(member["modalities"])
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise UserError(f"{file}: holds no tensors by name")
    return Source({bare_name(name): tensor for name, tensor in tensors.items()}, outputs, inputs)


def start_from(
    network: nn.Module, source: Source, labels: Sequence[str], modalities: Sequence[str], sigmoid: bool = False
) -> dict[str, Any]:
    """Give a network the weights of a file where names and shapes agree; the rest stays as it was initialised.

    Of the last and the first layer, those rows and channels are taken whose class and modality both have, if the file
    says what they are: so a network learns one class more and keeps the others.

    Parameters
    ----------
    network
        Changed in place.
    source
        From `read_weights`.
    labels, modalities
        Foreground labels of the network in class order, and its input channels.
    sigmoid
        It has no output for background.

    Returns
    -------
    dict
        ``matched`` and ``of``, numbers of tensors; ``partly`` and ``new``, names of those that took over some, and
        none.

    Raises
    ------
    UserError
        If no weights of any layer fit.
    """
    own = network.state_dict()
    outputs = (*(() if sigmoid else (BACKGROUND,)), *labels)
    with_axes = [name for name, tensor in own.items() if tensor.is_floating_point() and tensor.ndim > 1]
    last = with_axes[-1].rpartition(".")[0] if with_axes else ""
    found: dict[str, list[str]] = {"matched": [], "partly": [], "new": []}
    for name, tensor in own.items():
        known: dict[int, tuple[Sequence[str], Sequence[str]]] = {}  # axis -> what it stands for, here and there
        if name.rpartition(".")[0] == last and source.outputs is not None:
            known[0] = outputs, source.outputs
        if name in with_axes[:1] and source.inputs is not None:
            known[1] = modalities, source.inputs
        found[_fill(tensor, source.weights.get(bare_name(name)), known)].append(name)
    if not set(with_axes) & {*found["matched"], *found["partly"]}:
        raise UserError("no layer of the network has the name and shape of one in the file")
    return {**found, "matched": len(found["matched"]), "of": len(own)}


def _fill(tensor: Tensor, theirs: Tensor | None, known: Mapping[int, tuple[Sequence[str], Sequence[str]]]) -> str:
    """Copy what fits of another tensor into one; return whether it is "matched", "partly" so, or all "new"."""
    if theirs is None or theirs.ndim != tensor.ndim:
        return "new"
    if not tensor.ndim:
        tensor.copy_(theirs)
        return "matched"
    names = [known.get(axis, (range(n), range(n))) for axis, n in enumerate(tensor.shape)]
    common = [[name for name in here if name in there] for here, there in names]
    if list(theirs.shape) != [len(there) for _, there in names] or not all(common):
        return "new"
    here, there = (
        [torch.tensor([list(of[side]).index(name) for name in both]) for of, both in zip(names, common, strict=True)]
        for side in (0, 1)
    )
    for axis, index in enumerate(there):
        theirs = theirs.index_select(axis, index)
    tensor[torch.meshgrid(*here, indexing="ij")] = theirs.to(tensor.dtype)
    whole = all(len(both) == n for both, n in zip(common, tensor.shape, strict=True))
    return "matched" if whole else "partly"
