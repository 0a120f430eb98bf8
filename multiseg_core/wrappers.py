"""What stands around a network: other inputs and outputs, slices, windows, tasks; and how its parts are called.

Each wrapper holds a network and says, as `networks.UNet` does, what input sizes it takes (multiples of `size_divisor`,
or `any_size`) and how far a voxel sees (`reach`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .errors import UserError, suggest


class _Wrapper(nn.Module):
    """Holds a network, and takes the input sizes that it takes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.size_divisor: Any = network.size_divisor
        self.reach: Any = getattr(network, "reach", None)
        self.any_size = getattr(network, "any_size", False)


class AnyInputs(_Wrapper):
    """Lets a network read any subset of its input channels.

    A channel that holds NaN is absent: it becomes 0, and the others are multiplied by M / (number present), so that the
    first layer's mean does not depend on how many there are. In training, present channels are dropped at random, but
    never all of a sample, so that the network learns what each subset can tell.

    Parameters
    ----------
    network
        Any network of M input channels.
    modality_dropout
        Probability with which a channel is dropped in training.
    """

    def __init__(self, network: nn.Module, modality_dropout: float) -> None:
        super().__init__(network)
        self.modality_dropout = modality_dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch (N, M, *spatial)."""
        present = ~x.isnan().flatten(2).any(dim=2)  # (N, M)
        if self.training and self.modality_dropout > 0:
            kept = present & (torch.rand(present.shape, device=x.device) >= self.modality_dropout)
            present = torch.where(kept.any(dim=1, keepdim=True), kept, present)
        scale = present.shape[1] / present.sum(dim=1, keepdim=True).clamp(min=1)
        weight = (present * scale).view(*present.shape, *[1] * (x.ndim - 2)).to(x.dtype)
        result: Tensor = self.network(x.nan_to_num() * weight)
        return result


class SliceWise(_Wrapper):
    """Lets a network for 2-D images read volumes, slice by slice, without a look at the neighbours.

    Parameters
    ----------
    network
        Of images (N, M, *two sizes).
    axis
        The axis across the slices, 0 to 2.
    """

    def __init__(self, network: nn.Module, axis: int) -> None:
        super().__init__(network)
        self.axis = axis
        self.size_divisor = _with_axis(divisors(network, 2), axis, 1)
        self.reach = None if self.reach is None else _with_axis(self.reach, axis, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch (N, M, X, Y, Z)."""
        slices = x.movedim(2 + self.axis, 1)  # (N, slices, M, *two sizes)
        logits = self.network(slices.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        result: Tensor = logits.unflatten(0, slices.shape[:2]).movedim(1, 2 + self.axis)
        return result


class Windowed(nn.Module):
    """Lets a network that takes one size only, as transformers do, read volumes of any size, window by window.

    In training it is the bare network. In evaluation, windows of that size are laid over the volume, each half over the
    next, and their logits are averaged with Gaussian weights (MONAI's `sliding_window_inference`). Other than tiles,
    this is no exact result: a voxel's logits depend on where the windows lie. They are a mean of what its windows say,
    so a voxel on whose label they all agree gets that label.

    Parameters
    ----------
    network
        Any network.
    window
        The size that it takes, (3,) voxels.
    """

    def __init__(self, network: nn.Module, window: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.window = tuple(window)
        self.size_divisor = 1
        self.reach = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch (N, M, X, Y, Z)."""
        result: Tensor
        if self.training or x.shape[2:] == self.window:
            result = self.network(x)
        elif x.is_meta:  # shapes and memory are asked for: one window, and the whole result
            one = self.network(x.new_empty(*x.shape[:2], *self.window))
            result = one.new_empty(*one.shape[:2], *x.shape[2:])
        else:
            from monai.inferers.utils import sliding_window_inference  # slow to import

            found: Any = sliding_window_inference(x, self.window, 1, self.network, overlap=0.5, mode="gaussian")
            result = found
        return result


def _with_axis(of_plane: Sequence[int], axis: int, value: int) -> tuple[int, ...]:
    """Return numbers of three axes, from those of two and that of the axis across."""
    return (*of_plane[:axis], value, *of_plane[axis:])


def divisors(network: nn.Module, n_axes: int = 3) -> tuple[int, ...]:
    """Return what each spatial size of a network's input must be a multiple of."""
    found: Any = network.size_divisor
    return (found,) * n_axes if isinstance(found, int) else tuple(found)


class SigmoidHead(_Wrapper):
    """One binary output per label, in the place of classes that exclude each other.

    The background gets the logit 0, a label that of its own output. So the label is there where its logit is above the
    background's; their sigmoid is p_label / (p_label + p_background) of a softmax; and the most probable class is
    the background where no label is there, else the likeliest label.

    Parameters
    ----------
    network
        Any network with one output less than there are classes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch, (N, C, *spatial), the first 0."""
        logits = self.network(x)
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


class _ConditionalNorm(nn.Module):
    """A normalisation whose result is scaled and shifted as the task of each sample asks for."""

    def __init__(self, norm: nn.Module, n_tasks: int) -> None:
        super().__init__()
        self.norm = norm
        n = int(getattr(norm, "num_features", 0) or norm.num_channels)  # type: ignore[arg-type]
        # vectors, one per task, so that no weight decay is for them
        self.scale = nn.ParameterList([nn.Parameter(torch.zeros(n)) for _ in range(n_tasks)])
        self.shift = nn.ParameterList([nn.Parameter(torch.zeros(n)) for _ in range(n_tasks)])
        self.task: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        assert self.task is not None
        task = self.task.repeat_interleave(len(y) // len(self.task))  # slices of one sample follow each other
        shape = (len(y), -1, *[1] * (y.ndim - 2))
        scale, shift = (torch.stack(list(of))[task].view(shape).to(y.dtype) for of in (self.scale, self.shift))
        result: Tensor = y * (1 + scale) + shift
        return result

    def bound(self, task: int) -> nn.Module:
        """Return a plain normalisation that does the same for one task."""
        norm: Any = copy.deepcopy(self.norm)
        scale, shift = 1 + self.scale[task].detach(), self.shift[task].detach()
        weight = torch.ones_like(scale) if norm.weight is None else norm.weight.detach()
        bias = torch.zeros_like(shift) if norm.bias is None else norm.bias.detach()
        norm.weight, norm.bias = nn.Parameter(weight * scale), nn.Parameter(bias * scale + shift)
        norm.affine = True
        bound: nn.Module = norm
        return bound


_NORMALISATIONS = nn.BatchNorm2d | nn.BatchNorm3d | nn.InstanceNorm2d | nn.InstanceNorm3d | nn.GroupNorm


class Conditioned(_Wrapper):
    """Makes a network answer for the task that it is asked for.

    After every normalisation, features are multiplied by 1 + scale and shifted, by numbers of the task (FiLM, Perez et
    al. 2018, with a vector per task; for partial labels compare DoDNet, Zhang et al. 2021). They begin at 0, so that a
    network of one task is the bare network.

    Parameters
    ----------
    network
        Any network with normalisation layers; changed in place.
    n_tasks
        Number of tasks.
    """

    def __init__(self, network: nn.Module, n_tasks: int) -> None:
        super().__init__(network)
        self.n_tasks = n_tasks
        found = [
            (module, name)
            for module in network.modules()
            for name, child in module.named_children()
            if isinstance(child, _NORMALISATIONS)
        ]
        if not found:
            raise UserError("head: conditioned needs a network with normalisation layers")
        for module, name in found:
            setattr(module, name, _ConditionalNorm(getattr(module, name), n_tasks))

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Return the logits of a batch (N, M, *spatial) for the tasks (N,) of its samples, by default the first."""
        task = torch.zeros(len(x), dtype=torch.int64, device=x.device) if task is None else task
        for module in self.network.modules():
            if isinstance(module, _ConditionalNorm):
                module.task = task
        result: Tensor = self.network(x)
        return result

    def bound(self, task: int) -> nn.Module:
        """Return a copy that answers for one task, at the cost of the bare network."""
        network = copy.deepcopy(self.network)
        for module in list(network.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, _ConditionalNorm):
                    setattr(module, name, child.bound(task))
        return network


def bare_name(name: str) -> str:
    """Return the name of a weight without what parallel training and the wrappers above put before it."""
    while name.startswith(("module.", "network.")):
        name = name.partition(".")[2]
    return name


def is_part(name: str, parts: Sequence[str]) -> bool:
    """Whether a weight or module belongs to one of some parts of a network, by its name."""
    return any(bare_name(name) == part or bare_name(name).startswith(f"{part}.") for part in parts)


def require_parts(network: nn.Module, frozen: Sequence[str]) -> None:
    """Raise `UserError` if a network has no part of some name, or no part that is not among them."""
    names = [name for name, _ in network.named_parameters()]
    for part in frozen:
        if not any(is_part(name, [part]) for name in names):
            known = sorted({bare_name(name).partition(".")[0] for name in names})
            raise UserError(f"training.phases: the network has no part '{part}'{suggest(part, known)}")
    if names and all(is_part(name, frozen) for name in names):
        raise UserError("training.phases: a phase freezes the whole network")
