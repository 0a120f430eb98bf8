"""Networks: the thesis's 3-D U-Net, and any network of MONAI by name."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .errors import UserError, suggest


class UNet(nn.Module):
    """U-Net with *added* skip connections (thesis 2.5 and 3.2, after Ronneberger et al. 2015).

    Per level a block of two 3-wide convolutions, each followed by batch normalisation and ReLU; max-pooling by 2
    on the way down, transposed convolutions of width and stride 2 on the way up, filters doubled per level,
    dropout before the deepest block only, a final convolution of width 1. Weights are drawn from a truncated
    normal distribution with sigma = sqrt(2 / fan_in) (He et al. 2015).

    Parameters
    ----------
    in_channels, out_channels
        Number of modalities and of classes.
    base_filters
        Filters of the first level (32 in the thesis).
    levels
        Number of resolutions (4 in the thesis).
    dropout
        Fraction of the deepest block's inputs that are dropped in training.
    spatial_dims
        2 or 3.

    Notes
    -----
    Input (N, in_channels, *spatial), every spatial size a multiple of `size_divisor`; output logits
    (N, out_channels, *spatial).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        base_filters: int = 32,
        levels: int = 4,
        dropout: float = 0.3,
        spatial_dims: int = 3,
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels, base_filters, levels, spatial_dims)
        if not all(isinstance(n, int) for n in sizes) or not isinstance(dropout, int | float):
            raise UserError("network: unet's options must be whole numbers, and dropout a number")
        if spatial_dims not in (2, 3) or levels < 2 or base_filters < 1 or not 0 <= dropout < 1:
            raise UserError(
                "network: unet needs spatial_dims 2 or 3, levels >= 2, base_filters >= 1 and 0 <= dropout < 1"
            )
        conv = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        up = nn.ConvTranspose3d if spatial_dims == 3 else nn.ConvTranspose2d
        # Keras's momentum and epsilon, as in the thesis's program. Torch's own momentum averages over some ten batches
        # only, and patches around lesions and around cortex differ too much for that.
        norm = functools.partial(nn.BatchNorm3d if spatial_dims == 3 else nn.BatchNorm2d, momentum=0.01, eps=1e-3)

        def block(n_in: int, n_out: int) -> nn.Sequential:
            # a bias before batch normalisation would be subtracted again
            return nn.Sequential(
                conv(n_in, n_out, 3, padding=1, bias=False), norm(n_out), nn.ReLU(inplace=True),
                conv(n_out, n_out, 3, padding=1, bias=False), norm(n_out), nn.ReLU(inplace=True),
            )  # fmt: skip

        filters = [base_filters * 2**level for level in range(levels)]
        self.size_divisor = 2 ** (levels - 1)
        self.down = nn.ModuleList(block(a, b) for a, b in zip([in_channels, *filters[:-2]], filters[:-1], strict=True))
        self.pool = (nn.MaxPool3d if spatial_dims == 3 else nn.MaxPool2d)(2)
        self.dropout = nn.Dropout(dropout)
        self.bottom = block(filters[-2], filters[-1])
        self.up = nn.ModuleList(up(2 * n, n, 2, stride=2) for n in reversed(filters[:-1]))
        self.merge = nn.ModuleList(block(n, n) for n in reversed(filters[:-1]))
        self.head = conv(base_filters, out_channels, 1)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(self.dropout(x))
        for up, block, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = block(up(x) + skip)
        return self.head(x)


def _initialise(module: nn.Module) -> None:
    """Truncated normal weights with sigma = sqrt(2 / fan_in), zero biases."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        weight = module.weight
        transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
        # a voxel of a stride-2 transposed convolution of width 2 sees one tap per input channel
        fan_in = weight.shape[0] if transposed else weight[0].numel()
        std = math.sqrt(2 / fan_in)
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build_network(spec: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    """Build a network from its description in the params file.

    Parameters
    ----------
    spec
        ``name`` and keyword arguments. ``unet`` is `UNet`; ``monai.NAME`` is a class of `monai.networks.nets`.
    in_channels, out_channels
        Number of modalities and of classes.

    Returns
    -------
    nn.Module
        With an attribute `size_divisor`: inputs are padded to multiples of it.

    Raises
    ------
    UserError
        For an unknown network or keyword.
    """
    options = dict(spec)
    name = str(options.pop("name", "unet"))
    if name == "unet":
        network_class: type[nn.Module] = UNet
    elif name.startswith("monai."):
        from monai.networks import nets  # slow to import, and most studies do without

        found = getattr(nets, name.removeprefix("monai."), None)
        if not (inspect.isclass(found) and issubclass(found, nn.Module)):
            raise UserError(f"network: MONAI has no '{name}'{suggest(name, ['monai.' + n for n in dir(nets)])}")
        network_class = found
        options.setdefault("spatial_dims", 3)
    else:
        raise UserError(f"network: unknown name '{name}'{suggest(name, ['unet', 'monai.UNet'])}")
    known = set(inspect.signature(network_class).parameters) - {"in_channels", "out_channels"}
    for key in options:
        if key not in known:
            raise UserError(f"network: {name} has no option '{key}'{suggest(key, known)}")
    network = network_class(in_channels=in_channels, out_channels=out_channels, **options)
    if not hasattr(network, "size_divisor"):
        network.size_divisor = 32  # enough for MONAI's networks of up to six levels
    return network


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
