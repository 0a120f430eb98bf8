"""V-Net of any width, of MONAI's blocks: MONAI's own is as wide as its authors', which no CPU trains in minutes."""

from __future__ import annotations

from torch import Tensor, nn

from multiseg_core.errors import UserError


class VNet(nn.Module):
    """V-Net (Milletari et al. 2016): residual blocks of 5-wide convolutions, 2-wide convolutions between five levels.

    With 16 filters it is `monai.networks.nets.VNet`.

    Parameters
    ----------
    in_channels, out_channels
        Number of modalities, which must divide `base_filters`, and of classes.
    base_filters
        Filters of the first level; doubled per level.
    dropout
        Fraction of features that is dropped in training, at the deeper levels.

    Notes
    -----
    Input (N, in_channels, X, Y, Z), every size a multiple of `size_divisor`; output logits (N, out_channels, X, Y, Z).
    """

    of_monai = True

    def __init__(self, in_channels: int, out_channels: int, base_filters: int = 16, dropout: float = 0.5) -> None:
        super().__init__()
        from monai.networks.nets import vnet  # slow to import

        n = base_filters
        if not isinstance(n, int) or n < 1 or n % in_channels:
            raise UserError(f"network: vnet's base_filters must be a multiple of the {in_channels} modalities, got {n}")
        self.size_divisor = 16
        act = ("elu", {"inplace": True})
        p = dropout
        ups: tuple[tuple[int, int, int, tuple[float | None, float]], ...] = (
            (16, 16, 2, (p, p)), (16, 8, 2, (p, p)), (8, 4, 1, (None, p)), (4, 2, 1, (None, p)),
        )  # fmt: skip
        self.first = vnet.InputTransition(3, in_channels, n, act)
        self.down = nn.ModuleList(
            vnet.DownTransition(3, n * 2**i, k, act, dropout_prob=p if i > 1 else None)
            for i, k in enumerate((1, 2, 3, 2))
        )
        self.up = nn.ModuleList(
            vnet.UpTransition(3, a * n, b * n, k, act, dropout_prob=rates) for a, b, k, rates in ups
        )
        self.head = vnet.OutputTransition(3, 2 * n, out_channels, act)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch."""
        levels = [self.first(x)]
        for block in self.down:
            levels.append(block(levels[-1]))
        y = levels.pop()
        for block in self.up:
            y = block(y, levels.pop())
        logits: Tensor = self.head(y)
        return logits
