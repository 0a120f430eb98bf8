"""Networks: the thesis's 3-D U-Net, a plain one beside it, and any network of MONAI by name."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .convolutions import make_sound
from .errors import UserError, suggest
from .wrappers import AnyInputs, Conditioned, SigmoidHead, SliceWise, Windowed


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
    filters
        Filters of every level, instead of `base_filters` and `levels`. Most of the time is spent at the first level,
        which has most of the voxels.
    convolutions
        Convolutions per block, of every level: a number or a list (2 in the thesis).
    norm
        ``batch`` as in the thesis, or ``instance``.
    strides
        By how much each step down shrinks each axis, 1 or 2, such as ``[[2, 2, 1], [2, 2, 2]]`` for three levels of
        images with thick slices; 2 everywhere by default.
    kernels
        Width of the convolutions of each level along each axis, 1 or 3, such as ``[[3, 3, 1], [3, 3, 3], [3, 3, 3]]``;
        3 everywhere by default.
    separable
        Make each convolution of a block, but for the network's first, of one per channel and one of width 1 across
        channels (Howard et al. 2017): a fourth to a fifth of the weights in 3-D, and no less time on a CPU.

    Notes
    -----
    Input (N, in_channels, *spatial); output logits (N, out_channels, *spatial). A voxel's logits depend on the input
    up to `reach` voxels away along each axis, and on the position modulo `size_divisor`, over which the deepest level
    pools. Both hold a number per axis. Where a size is no multiple of it, the last windows hold what is left.
    """

    any_size = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        base_filters: int = 32,
        levels: int = 4,
        dropout: float = 0.3,
        spatial_dims: int = 3,
        filters: Sequence[int] | None = None,
        convolutions: int | Sequence[int] = 2,
        norm: str = "batch",
        strides: Sequence[Sequence[int]] | None = None,
        kernels: Sequence[Sequence[int]] | None = None,
        separable: bool = False,
    ) -> None:
        super().__init__()
        filters, convolutions = _levels(base_filters, levels, filters, convolutions)
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise UserError(f"network: unet's dropout must lie in [0, 1), got {dropout}")
        if spatial_dims not in (2, 3):
            raise UserError(f"network: unet's spatial_dims must be 2 or 3, got {spatial_dims}")
        if not isinstance(separable, bool):
            raise UserError(f"network: unet's separable must be true or false, got {separable}")
        if norm not in ("batch", "instance"):
            raise UserError(f"network: unet's norm must be batch or instance, got '{norm}'")
        kinds: dict[int, Any] = {
            2: (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d),
            3: (nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d),
        }
        conv, up, pool = kinds[spatial_dims]
        steps = _per_axis("strides", strides, 2, len(filters) - 1, spatial_dims, (1, 2))
        widths = _per_axis("kernels", kernels, 3, len(filters), spatial_dims, (1, 3))
        self.size_divisor = tuple(math.prod(of_axis) for of_axis in zip(*steps, strict=True))
        self.reach = _reach(convolutions, steps, widths) if norm == "batch" else None

        def block(n_in: int, n_out: int, n_convolutions: int, width: tuple[int, ...], whole: int = 0) -> nn.Sequential:
            layers: list[nn.Module] = []
            around = tuple(w // 2 for w in width)
            for i, n in enumerate([n_in, *[n_out] * (n_convolutions - 1)]):
                # a bias before normalisation would be subtracted again
                if separable and i >= whole:
                    layers += [conv(n, n, width, padding=around, groups=n, bias=False), conv(n, n_out, 1, bias=False)]
                else:
                    layers.append(conv(n, n_out, width, padding=around, bias=False))
                layers += [_NORMS[norm, spatial_dims](n_out), nn.ReLU(inplace=True)]
            return nn.Sequential(*layers)

        above, deepest = filters[:-1], filters[-1]
        # few modalities have too little to be filtered one by one: the first convolution is a whole one
        ins, whole = [in_channels, *above[:-1]], [1, *[0] * len(above)]
        self.down = nn.ModuleList(map(block, ins, above, convolutions, widths, whole))
        self.pool = nn.ModuleList(pool(step, ceil_mode=True) for step in steps)
        self.dropout = nn.Dropout(dropout)
        self.bottom = block(above[-1], deepest, convolutions[-1], widths[-1])
        pairs = list(zip(itertools.pairwise(filters), steps, strict=True))
        self.up = nn.ModuleList(up(b, a, step, stride=step) for (a, b), step in reversed(pairs))
        levels_up = list(zip(above, convolutions, widths, strict=False))
        self.merge = nn.ModuleList(block(n, n, k, width) for n, k, width in reversed(levels_up))
        self.head = conv(above[0], out_channels, 1)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch."""
        skips = []
        for block, pool in zip(self.down, self.pool, strict=True):
            x = block(x)
            skips.append(x)
            x = pool(x)
        x = self.bottom(self.dropout(x))
        for up, block in zip(self.up, self.merge, strict=True):
            x = up(x)
            if x.shape != skips[-1].shape:  # the last windows held less
                x = x[:, :, *map(slice, skips[-1].shape[2:])]
            x = block(x.add_(skips.pop()))  # in place: the largest arrays of the network meet here
        return self.head(x)


# Keras's momentum and epsilon, as in the thesis's program. Torch's own momentum averages over some ten batches
# only, and patches around lesions and around cortex differ too much for that.
_NORMS: dict[tuple[str, int], Callable[[int], nn.Module]] = {
    ("batch", 2): functools.partial(nn.BatchNorm2d, momentum=0.01, eps=1e-3),
    ("batch", 3): functools.partial(nn.BatchNorm3d, momentum=0.01, eps=1e-3),
    ("instance", 2): functools.partial(nn.InstanceNorm2d, affine=True),
    ("instance", 3): functools.partial(nn.InstanceNorm3d, affine=True),
}


def is_count(*values: Any) -> bool:
    """Whether some values are whole numbers above 0."""
    return all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in values)


def _levels(base_filters: Any, levels: Any, filters: Any, convolutions: Any) -> tuple[list[int], list[int]]:
    if filters is None:
        filters = [base_filters * 2**level for level in range(levels)] if is_count(base_filters, levels) else []
    elif not isinstance(filters, list | tuple):
        raise UserError("network: unet's filters must be a list of whole numbers")
    if not is_count(*filters) or len(filters) < 2:
        raise UserError("network: unet needs two levels or more, with whole numbers of filters above 0")
    if isinstance(convolutions, int):
        convolutions = [convolutions] * len(filters)
    if not isinstance(convolutions, list | tuple) or len(convolutions) != len(filters) or not is_count(*convolutions):
        raise UserError("network: unet's convolutions must be a whole number above 0, or a list of one per level")
    return list(filters), list(convolutions)


def _per_axis(
    name: str, given: Any, default: int, n: int, n_axes: int, allowed: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Return n lists of a number per axis, as given or the default everywhere."""
    if given is None:
        return [(default,) * n_axes] * n
    fits = (
        isinstance(given, list | tuple)
        and len(given) == n
        and all(isinstance(one, list | tuple) and len(one) == n_axes and set(one) <= set(allowed) for one in given)
    )
    if not fits:
        either = " or ".join(map(str, allowed))
        raise UserError(f"network: unet's {name} must be {n} lists of {n_axes} numbers, each {either}, got {given}")
    return [tuple(one) for one in given]


def _reach(
    convolutions: Sequence[int], steps: Sequence[Sequence[int]], widths: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Distance in voxels up to which a logit of a `UNet` sees its input along each axis, for any position in a window.

    Of two steps down by 2, each 3-wide convolution of level l sees 2^l voxels further; every level but the deepest has
    two blocks. Pooling and the transposed convolutions tie a voxel to its window of the deepest level, hence one less
    than the size of that window more.
    """
    found = []
    for axis in range(len(widths[0])):
        voxel = list(itertools.accumulate((step[axis] for step in steps), lambda a, b: a * b, initial=1))
        *above, deepest = (n * (w[axis] // 2) * v for n, w, v in zip(convolutions, widths, voxel, strict=True))
        found.append(2 * sum(above) + deepest + voxel[-1] - 1)
    return tuple(found)


def initialise(module: nn.Module) -> None:
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


NETWORKS: dict[str, type[nn.Module]] = {"unet": UNet}
"""Networks by the name that a params file gives."""


def network_class(name: str) -> type[nn.Module]:
    """Return a network of `NETWORKS`, of an installed package's entry point, or (``monai.NAME``) of MONAI.

    Raises `UserError` if there is none.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    offered = importlib.metadata.entry_points(group="multiseg.networks")
    if name in offered.names:
        made_by: type[nn.Module] = offered[name].load()
        return made_by
    if not name.startswith("monai."):
        raise UserError(f"network: unknown name '{name}'{suggest(name, [*NETWORKS, *offered.names, 'monai.UNet'])}")
    from monai.networks import nets  # slow to import, and most studies do without

    found = getattr(nets, name.removeprefix("monai."), None)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise UserError(f"network: MONAI has no '{name}'{suggest(name, ['monai.' + n for n in dir(nets)])}")
    return found


def build_network(spec: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    """Build a network from its description in the params file.

    Parameters
    ----------
    spec
        ``name``, see `network_class`, and keyword arguments. With ``spatial_dims: 2``, volumes are read slice by slice
        across ``slice_axis`` (2 by default), see `SliceWise`; with ``window``, see `Windowed`; with
        ``modality_dropout``, it reads any subset of its channels, see `AnyInputs`; with ``head: sigmoid`` see
        `SigmoidHead`; with ``tasks`` see `Conditioned`.
    in_channels, out_channels
        Number of modalities and of classes.

    Returns
    -------
    nn.Module
        See `finished`.

    Raises
    ------
    UserError
        For an unknown network or keyword.
    """
    options = dict(spec)
    name, dropout = str(options.pop("name", "unet")), options.pop("modality_dropout", None)
    head, tasks, window = options.pop("head", None), options.pop("tasks", None), options.pop("window", None)
    axis = options.pop("slice_axis", 2)
    if dropout is not None and not (isinstance(dropout, int | float) and 0 <= dropout < 1):
        raise UserError(f"network: modality_dropout must lie in [0, 1), got {dropout}")
    made_by = network_class(name)
    if name.startswith("monai."):
        options.setdefault("spatial_dims", 3)
    if window is not None and not (isinstance(window, list | tuple) and len(window) == 3 and is_count(*window)):
        raise UserError(f"network: window must be three whole numbers above 0, got {window}")
    if axis not in (0, 1, 2) or isinstance(axis, bool):
        raise UserError(f"network: slice_axis must be 0, 1 or 2, got {axis}")
    if "slice_axis" in spec and options.get("spatial_dims") != 2:
        raise UserError("network: slice_axis is for networks with spatial_dims: 2")
    known = set(inspect.signature(made_by).parameters) - {"in_channels", "out_channels"}
    for key in options:
        if key not in known:
            raise UserError(f"network: {name} has no option '{key}'{suggest(key, known)}")
    binary = head == "sigmoid"
    network = finished(made_by(in_channels=in_channels, out_channels=out_channels - binary, **options))
    network = SliceWise(network, axis) if options.get("spatial_dims") == 2 else network
    network = network if window is None else Windowed(network, window)
    network = SigmoidHead(network) if binary else network
    network = network if dropout is None else AnyInputs(network, dropout)
    return network if tasks is None else Conditioned(network, tasks)


def finished(network: nn.Module) -> nn.Module:
    """Return a network with sound convolutions and a `size_divisor`: inputs are padded to multiples of it."""
    make_sound(network)
    if not hasattr(network, "size_divisor"):
        network.size_divisor = 32  # type: ignore[assignment]  # enough for MONAI's networks of up to six levels
    return network


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
