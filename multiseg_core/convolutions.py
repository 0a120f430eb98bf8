"""Convolutions of torch without an error, and without slow ways, that they have on CPUs (seen with torch 2.13)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SoundConv2d(nn.Conv2d):
    """`nn.Conv2d` whose filters of single channels are fast: see `SoundConv3d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of a batch, (N, in_channels, X, Y)."""
        if self.groups > 1 and _is_bf16(x):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class SoundConv3d(nn.Conv3d):
    """`nn.Conv3d` without an error and without two slow ways of torch on CPUs.

    In bf16, the gradient of the weights is garbage where the first spatial size of the input is above 1 and below the
    width of the kernel (7-wide: 1 too, and memory is overwritten), as at the deepest level of a four-level U-Net for
    patches of 16^3. Such inputs are small: float32 costs nothing.

    In bf16, convolutions in groups, as depthwise ones are, take several times as long as in float32.

    In float32, torch gives a small image that comes alone, as in prediction, to a plain loop instead of oneDNN, which
    is several times as fast. Trainings have batches, which it gives to oneDNN; they go their old way.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of a batch, (N, in_channels, X, Y, Z)."""
        if x.device.type != "cpu":
            return super().forward(x)
        if _is_bf16(x):
            size, width = x.shape[2], self.kernel_size[0]
            if ((width >= 7 or size > 1) and size < width) or self.groups > 1:
                with torch.autocast("cpu", enabled=False):
                    return super().forward(x.float())
        elif (
            x.shape[0] == 1
            and x.dtype == torch.float32
            and not torch.is_grad_enabled()
            and self._can_be_called_by_name()
        ):
            where = list(self.padding), list(self.stride), list(self.dilation), self.groups
            alone: Tensor = torch.ops.aten.mkldnn_convolution(x, self.weight, self.bias, *where)
            return alone
        return super().forward(x)

    def _can_be_called_by_name(self) -> bool:
        """Whether oneDNN can do it; not while the network is written to a file, for machines that may be others."""
        is_written = torch._C._get_tracing_state() or torch.compiler.is_compiling()
        return self.padding_mode == "zeros" and not isinstance(self.padding, str) and not is_written


def _is_bf16(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def make_sound(network: nn.Module) -> None:
    """Turn a network's convolutions into those of this module."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = SoundConv3d
        elif type(module) is nn.Conv2d:
            module.__class__ = SoundConv2d
