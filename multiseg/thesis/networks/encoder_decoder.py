"""CNN1, the plain network of a companion study."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from multiseg_core.errors import UserError
from multiseg_core.networks import initialise, is_count


class EncoderDecoder(nn.Module):
    """A small plain encoder and decoder without skip connections, with dropout after each pooling (Penedo, CNN1).

    Per level down a 3-wide convolution, max-pooling by 2 and dropout, filters doubled per level; at the bottom a
    convolution; per level up an upsampling by 2 (nearest neighbour) and a convolution; a final convolution of width 1.
    Batch normalisation and ReLU follow each 3-wide convolution; the source does not say whether it has the former,
    without which a Dice loss hardly gets going.

    Parameters
    ----------
    in_channels, out_channels
        Number of modalities and of classes.
    base_filters
        Filters of the first level.
    levels
        Number of resolutions.
    dropout
        Fraction of what each pooling lets through that is dropped in training.
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
        base_filters: int = 16,
        levels: int = 4,
        dropout: float = 0.0,
        spatial_dims: int = 3,
    ) -> None:
        super().__init__()
        if not is_count(in_channels, out_channels, base_filters, levels) or levels < 2:
            raise UserError("network: encoder_decoder needs filters and levels, two or more, as whole numbers")
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise UserError(f"network: encoder_decoder's dropout must lie in [0, 1), got {dropout}")
        if spatial_dims not in (2, 3):
            raise UserError(f"network: encoder_decoder's spatial_dims must be 2 or 3, got {spatial_dims}")
        conv, pool = (nn.Conv3d, nn.MaxPool3d) if spatial_dims == 3 else (nn.Conv2d, nn.MaxPool2d)
        norm = nn.BatchNorm3d if spatial_dims == 3 else nn.BatchNorm2d
        filters = [base_filters * 2**level for level in range(levels)]

        def block(n_in: int, n_out: int) -> nn.Sequential:
            return nn.Sequential(conv(n_in, n_out, 3, padding=1, bias=False), norm(n_out), nn.ReLU(inplace=True))

        self.size_divisor = 2 ** (levels - 1)
        self.down = nn.ModuleList(map(block, [in_channels, *filters[:-2]], filters[:-1]))
        self.pool = nn.Sequential(pool(2), nn.Dropout(dropout))
        self.bottom = block(*filters[-2:])
        self.up = nn.ModuleList(block(b, a) for a, b in reversed(list(itertools.pairwise(filters))))
        self.head = conv(filters[0], out_channels, 1)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch."""
        for block in self.down:
            x = self.pool(block(x))
        x = self.bottom(x)
        for block in self.up:
            x = block(nn.functional.interpolate(x, scale_factor=2.0))
        return self.head(x)
