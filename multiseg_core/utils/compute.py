"""Where and how numbers are computed: device, precision, threads."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import UserError


@dataclass(frozen=True)
class Compute:
    """Where and how numbers are computed; changes results by rounding only.

    Attributes
    ----------
    device
        A torch device.
    bf16
        Run the network under bfloat16 autocast. The loss stays in float32.
    """

    device: torch.device
    bf16: bool

    @classmethod
    def resolve(cls, device: str, precision: str) -> Compute:
        """Resolve the params' ``device`` and ``precision``. Raises `UserError` if CUDA is asked for and missing."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(f"device: '{device}' was asked for, but torch finds no CUDA device")
        try:
            at = torch.device(device)
        except RuntimeError:
            raise UserError(f"device: '{device}' is not a device of torch") from None
        if precision not in ("auto", "float32", "bf16"):
            raise UserError(f"precision: '{precision}' is not one of auto, float32, bf16")
        if precision == "auto":
            # without hardware support bfloat16 is emulated, several times slower than float32
            fast = (
                torch.cuda.is_bf16_supported(including_emulation=False)
                if at.type == "cuda"
                else torch.cpu._is_avx512_bf16_supported()
            )
        else:
            fast = precision == "bf16"
        return cls(at, fast)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the network runs."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def place(self, tensor: Tensor) -> Tensor:
        """Move a batch (N, C, X, Y, Z) to the device, channels last (faster convolutions)."""
        return tensor.to(self.device, memory_format=torch.channels_last_3d)

    def place_network(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in place, the weights of its convolutions channels last as well.

        One that is there already is not touched: moving gives its weights other memory, and another thread may be
        reading them.
        """
        here = torch.empty(0, device=self.device).device  # with its number
        if any(tensor.device != here for tensor in [*network.parameters(), *network.buffers()]):
            network = network.to(here)
        if not all(map(_channels_last, network.modules())):
            network = nn.utils.convert_conv3d_weight_memory_format(network, torch.channels_last_3d)
            network = nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        return network


def _channels_last(module: nn.Module) -> bool:
    """Whether the weights of a module lie channels last, if it is a convolution."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        return module.weight.is_contiguous(memory_format=torch.channels_last_3d)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return module.weight.is_contiguous(memory_format=torch.channels_last)
    return True


GPU_PROGRAM_GIB = 1.5
"""Memory of a GPU that a process takes which has done nothing yet, and what convolutions need of their own."""

MOST_PER_GPU = 4
"""Trainings that share a GPU, however small they are."""


def visible_gpus(device: str) -> list[str]:
    """Return the GPUs that workers may take in turn, as ``CUDA_VISIBLE_DEVICES`` names them.

    None if there are none, or if `device` is not ``auto`` or ``cuda``: then it says which one is meant.
    """
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    n = torch.cuda.device_count()
    return named[:n] if named else [str(number) for number in range(n)]


def default_workers(
    workers: int | None, threads: int, device: str = "cpu", gpus: int = 0, need_gib: float = 0.0
) -> int:
    """Return how many trainings run at a time, of some threads each: as many as asked for, or as the device takes.

    Parameters
    ----------
    workers
        How many were asked for.
    threads
        Of each.
    device
        Type of the device.
    gpus
        How many GPUs they take in turn; 0 if `device` is one alone.
    need_gib
        Memory that one training takes of a GPU; where several fit, they share it.
    """
    if workers is not None:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    places = max(cores // threads, 1)
    if device == "cpu":
        return places
    if not gpus:
        return 1
    memory = min(torch.cuda.get_device_properties(i).total_memory for i in range(gpus)) / 2**30
    fit = int(min(0.9 * memory / (need_gib + GPU_PROGRAM_GIB), MOST_PER_GPU, places / gpus))
    return gpus * max(fit, 1)
