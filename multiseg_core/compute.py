"""Where and how numbers are computed: device, precision, threads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import UserError


@dataclass(frozen=True)
class Compute:
    """Where and how numbers are computed; changes results by rounding only."""

    device: torch.device
    """A torch device."""
    bf16: bool
    """Run the network under bfloat16 autocast. The loss stays in float32."""

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
