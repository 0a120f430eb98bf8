"""A network on a whole volume, within a budget of memory: one pass, or tiles that give the same numbers."""

from __future__ import annotations

import copy
import itertools
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .compute import Compute
from .errors import UserError
from .wrappers import divisors

MOST_CUTS = 8
"""Along an axis. Margins make more parts hopeless."""

SCRATCH = 1.25
"""Convolutions need some memory of their own beside the tensors."""

_MEASURED: weakref.WeakKeyDictionary[nn.Module, tuple[int, float]] = weakref.WeakKeyDictionary()
"""Voxels of the last volume whose pass was measured with a network, and what it took, in GiB."""


@dataclass(frozen=True)
class Filling:
    """How a volume is made larger, on both sides, before a network reads it."""

    value: float = -4.0
    """What lies outside."""
    at_least: tuple[int, ...] = (1, 1, 1)
    """The size (X, Y, Z) of training patches, to which smaller images were filled up with `value`."""
    has_outside: bool = True
    """Whether `value` is what networks have seen at borders. Then volumes are filled up with it to multiples of what
    the network pools over. Where the body goes on at the border, networks that take any size (`any_size`) read it as
    it is, and for others the outermost voxels are repeated."""

    def size(self, network: nn.Module, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the size up to which a volume (X, Y, Z) is filled for a network."""
        steps = (1, 1, 1) if not self.has_outside and getattr(network, "any_size", False) else divisors(network)
        return tuple(
            math.ceil(max(n, least) / step) * step for n, least, step in zip(shape, self.at_least, steps, strict=True)
        )

    def fill(self, network: nn.Module, images: np.ndarray) -> tuple[np.ndarray, tuple[slice, ...]]:
        """Return a filled volume (M, X, Y, Z), and where the old one lies in it."""
        shape = images.shape[1:]
        full = self.size(network, shape)
        first = full if self.has_outside else tuple(map(max, shape, self.at_least))
        inner, outer = _margins(shape, first), _margins(first, full)
        filled = np.pad(images, [(0, 0), *inner], constant_values=self.value)
        if first != full:
            filled = np.pad(filled, [(0, 0), *outer], mode="edge")
        return filled, tuple(slice(a + b, a + b + n) for (a, _), (b, _), n in zip(inner, outer, shape, strict=True))


def _margins(size: Sequence[int], larger: Sequence[int]) -> list[tuple[int, int]]:
    """Return how many voxels come before and after, by axis."""
    return [((m - n) // 2, (m - n) - (m - n) // 2) for n, m in zip(size, larger, strict=True)]


def predict_views(
    network: nn.Module, images: np.ndarray, compute: Compute, filling: Filling, memory_gib: float, views: int
) -> np.ndarray:
    """Return the mean probabilities of several views of a volume, (C, X, Y, Z) float32.

    A network that pools answers differently where its windows lie differently. View k of n is the volume without its
    first k / n of a window along each axis, so that windows lie elsewhere in every view. The first planes of the volume
    are in some views only. See `predict` for the rest.
    """
    total = predict(network, images, compute, filling, memory_gib, labels_only=False)
    shape = images.shape[1:]
    seen = np.ones(shape, dtype=np.float32)
    # an image smaller than patches stays where it was in them; of another, views may be smaller than patches
    windows = [
        divisor if n > divisor and n >= least else 0
        for n, divisor, least in zip(shape, divisors(network), filling.at_least, strict=True)
    ]
    filling = replace(filling, at_least=tuple(m if n < m else 1 for n, m in zip(shape, filling.at_least, strict=True)))
    for corner in sorted({tuple(k * window // views for window in windows) for k in range(views)})[1:]:
        rest = tuple(slice(start, None) for start in corner)
        total[:, *rest] += predict(network, images[:, *rest], compute, filling, memory_gib, labels_only=False)
        seen[rest] += 1
    total /= seen
    return total


@torch.inference_mode()
def predict(
    network: nn.Module, images: np.ndarray, compute: Compute, filling: Filling, memory_gib: float, labels_only: bool
) -> np.ndarray:
    """Run a network on a whole volume: in one pass if memory allows, else in tiles that give the same numbers.

    Parameters
    ----------
    network
        In evaluation mode.
    images
        (M, X, Y, Z) float32.
    compute
        Where to compute.
    filling
        How the volume is filled up.
    memory_gib
        What the computation may take, images and result included.
    labels_only
        Return the most probable class instead of all probabilities.

    Returns
    -------
    np.ndarray
        (X, Y, Z) uint8 class numbers, or (C, X, Y, Z) float32 probabilities.

    Raises
    ------
    UserError
        If memory does not suffice for any tile, or for one pass of a network that cannot be tiled.
    """
    padded, place = filling.fill(network, images)
    network = compute.place_network(network).eval()
    result: Any = None  # numpy cannot type an index that is unpacked
    for tile in plan_tiles(network, padded.shape, compute, memory_gib):
        with compute.autocast():
            logits = network(compute.place(torch.from_numpy(padded[:, *tile.read])[None]))
        inner = logits[0][:, *tile.keep]
        part = inner.argmax(0).to(torch.uint8) if labels_only else torch.softmax(inner.float(), 0)
        if result is None:
            result = np.empty((*part.shape[:-3], *padded.shape[1:]), dtype=np.uint8 if labels_only else np.float32)
        result[..., *tile.write] = part.cpu().numpy()
    assert result is not None
    return result[..., *place]


@dataclass(frozen=True)
class Tile:
    """Part of a volume: what the network reads, which voxels of its answer are kept, and where they go."""

    read: tuple[slice, ...]
    keep: tuple[slice, ...]
    write: tuple[slice, ...]


def _block(axes: Sequence[Tile]) -> Tile:
    """Join the cuts of three axes into a block."""
    return Tile(
        *(tuple(itertools.chain(*slices)) for slices in zip(*((t.read, t.keep, t.write) for t in axes), strict=True))
    )


def plan_tiles(network: nn.Module, shape: Sequence[int], compute: Compute, memory_gib: float) -> list[Tile]:
    """Cut a volume into the fewest voxels to compute that memory allows; one tile is the whole volume.

    A tile is read with a margin of the network's `reach`, so that what is kept never sees where the tile was cut, and
    begins at a multiple of `size_divisor`, so that pooling windows stay where they are.

    Parameters
    ----------
    shape
        (M, X, Y, Z), as filled up, see `Filling.size`.

    Raises
    ------
    UserError
        See `predict`.
    """
    reach = getattr(network, "reach", None)
    volume = tuple(shape[1:])
    if _surely_fits(network, math.prod(volume), memory_gib):
        whole = tuple(slice(0, n) for n in volume)
        return [Tile(whole, whole, whole)]
    needed = pass_gib(network, shape, compute)
    _MEASURED[network] = math.prod(volume), needed
    per_voxel = needed / math.prod(volume)
    if reach is None and needed > memory_gib:
        raise UserError(
            f"inference.memory_gib: one pass over {' x '.join(map(str, volume))} voxels takes about {needed:.1f} GiB, "
            f"more than the {memory_gib:g} allowed, and this network cannot be cut into exact tiles"
        )

    def cut(size: int, n: int, divisor: int, reach: int) -> list[Tile]:
        """Cut one axis into n parts."""
        margin = -(-reach // divisor) * divisor
        step = -(-size // (n * divisor)) * divisor
        parts = [(start, min(start + step, size)) for start in range(0, size, step)]
        reads = [(max(start - margin, 0), min(stop + margin, size)) for start, stop in parts]
        return [
            Tile((slice(a, b),), (slice(start - a, stop - a),), (slice(start, stop),))
            for (start, stop), (a, b) in zip(parts, reads, strict=True)
        ]

    axes_of = zip(volume, divisors(network), reach or (0, 0, 0), strict=True)
    cuts = [[cut(size, n, d, r) for n in range(1, 1 + min(-(-size // d), MOST_CUTS))] for size, d, r in axes_of]
    possible = []
    for axes in itertools.product(*cuts):
        lengths = [[tile.read[0].stop - tile.read[0].start for tile in tiles] for tiles in axes]
        if per_voxel * math.prod(map(max, lengths)) <= memory_gib:
            possible.append((math.prod(map(sum, lengths)), axes))
    if not possible:
        raise UserError(
            f"inference.memory_gib: {memory_gib:g} is too little for this network; one pass over this volume takes "
            f"about {needed:.2g} GiB"
        )
    _, axes = min(possible, key=lambda choice: choice[0])
    return [_block(combination) for combination in itertools.product(*axes)]


def _surely_fits(network: nn.Module, voxels: int, memory_gib: float) -> bool:
    """Whether a volume fits by far, going by the last one measured: to measure a pass may take longer than to make it.

    Twice what that one says must fit, for float32 after bf16, and for what does not grow with the voxels.
    """
    if network not in _MEASURED:
        return False
    measured, took = _MEASURED[network]
    return 2 * took * max(1.0, voxels / measured) <= memory_gib


@torch.inference_mode()
def pass_gib(network: nn.Module, shape: Sequence[int], compute: Compute) -> float:
    """Estimate the memory of one pass over images of shape (M, X, Y, Z), in GiB.

    The pass is made without numbers, on torch's meta device, and the sizes of all tensors alive at a time are added up.
    """
    with torch.device("meta"):
        images = torch.empty(1, *shape)
    with _LiveMemory() as memory:
        copy.deepcopy(network).to("meta")(images)
    size = math.prod(shape) * 4
    return (2 * size + SCRATCH * memory.peak * (0.5 if compute.bf16 else 1)) / 2**30


class _LiveMemory(TorchDispatchMode):
    """Follows the tensors that operations make, and the most bytes that were alive together."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.total = 0
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                _, known = self.alive.get(storage._cdata, (None, 0))
                self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                self.total += storage.nbytes() - known
        if self.total > self.peak:  # else what has died since matters not
            self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
            self.total = sum(size for _, size in self.alive.values())
            self.peak = max(self.peak, self.total)
        return result


def fold_normalisation(network: nn.Module) -> nn.Module:
    """Return a copy for prediction whose batch normalisations are part of the convolutions before them.

    gamma (w * x - mean) / sd + beta is a convolution with weights gamma w / sd and bias beta - gamma mean / sd: the
    same numbers up to rounding, in less time.
    """
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i in range(len(module) - 1):
                conv, norm = module[i], module[i + 1]
                if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network
