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
    """Weights of a file.

    Attributes
    ----------
    weights
        Tensors by name, without wrappers.
    outputs, inputs
        What its last and first layer stand for: classes and modalities; None if the file does not say.
    """

    weights: Mapping[str, Tensor]
    outputs: tuple[str, ...] | None = None
    inputs: tuple[str, ...] | None = None

    @classmethod
    def of(cls, folder: Path, outputs: Sequence[str], inputs: Sequence[str]) -> Source:
        """Read a trained network of a study, whose classes and modalities are known."""
        weights = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
        return cls(_bare(weights), tuple(outputs), tuple(inputs))


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
    if isinstance(content, dict) and "members" in content:
        different = {m["spec"].get("name", "") + str(m["labels"]) + str(m["modalities"]) for m in content["members"]}
        if len(different) > 1:
            raise UserError(f"{file}: a run of {len(content['members'])} networks; give one with a single network")
        member = content["members"][0]
        first = () if member["spec"].get("head") == "sigmoid" else (BACKGROUND,)
        return Source(_bare(member["weights"]), (*first, *member["labels"]), tuple(member["modalities"]))
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        raise UserError(f"{file}: holds no tensors by name")
    return Source(_bare(tensors))


def _bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {bare_name(name): tensor for name, tensor in weights.items()}


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
    floating = [name for name, tensor in own.items() if tensor.is_floating_point() and tensor.ndim]
    with_axes = [name for name in floating if own[name].ndim > 1]
    last = with_axes[-1].rpartition(".")[0] if with_axes else ""
    matched: list[str] = []
    partly: list[str] = []
    new: list[str] = []
    for name, tensor in own.items():
        theirs = source.weights.get(bare_name(name))
        if theirs is None or theirs.ndim != tensor.ndim:
            new.append(name)
            continue
        places = [(list(range(n)), list(range(n))) for n in tensor.shape]  # along each axis, here and there
        sizes = list(tensor.shape)  # that theirs must have
        if name.rpartition(".")[0] == last and source.outputs is not None:
            places[0], sizes[0] = _common(outputs, source.outputs), len(source.outputs)
        if name in with_axes[:1] and source.inputs is not None:
            places[1], sizes[1] = _common(modalities, source.inputs), len(source.inputs)
        if list(theirs.shape) != sizes or not all(here for here, _ in places):
            new.append(name)
            continue
        for axis, (_, there) in enumerate(places):
            theirs = theirs.index_select(axis, torch.tensor(there))
        if tensor.ndim:
            here = torch.meshgrid(*(torch.tensor(at) for at, _ in places), indexing="ij")
            tensor[here] = theirs.to(tensor.dtype)
        else:
            tensor.copy_(theirs)
        whole = all(len(at) == n for (at, _), n in zip(places, tensor.shape, strict=True))
        (matched if whole else partly).append(name)
    if not set(with_axes) & {*matched, *partly}:
        raise UserError("no layer of the network has the name and shape of one in the file")
    return {"matched": len(matched), "of": len(own), "partly": partly, "new": new}


def _common(own: Sequence[str], theirs: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the places, in two lists of names, of what both have."""
    both = [name for name in own if name in theirs]
    return [list(own).index(name) for name in both], [list(theirs).index(name) for name in both]
