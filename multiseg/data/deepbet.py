"""Brain extraction in seconds: the networks that come with the package deepbet, without the packages that it asks for.

``pip install --no-deps deepbet`` is enough; nothing of its code is run. Two LinkNets of some two million weights, for
T1-weighted images of adults: one finds the brain in a coarse image of the whole head, the other draws it in the box
around that. Their inputs are prepared as deepbet 1.0.2 prepares them (Fisch et al., Computers in Biology and
Medicine 179, 2024; MIT licence).
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from multiseg_core.errors import UserError, one_line

COARSE, FINE = (128, 128, 128), (256, 256, 256)
"""Sizes of what the two networks see, whatever the size of the image."""

DARKEST, BRIGHTEST = 0.005, 0.995
"""Quantiles of the coarse image between which intensities lie."""

SHARE = 0.02
"""Planes belong to the box around the brain from this share of brain on."""

MARGIN = 0.1
"""The box is wider by this share of its size, on each side."""


def deepbet_mask(volume: np.ndarray, affine: np.ndarray, path: Path, models: Path) -> np.ndarray:
    """Extract the brain from a T1-weighted image of a whole head; some seconds on one thread.

    Parameters are those of `brain_masks.robex_mask`, and the folder of the networks. Returns (X, Y, Z) bool, in one
    piece and without holes. Raises `UserError` if the networks cannot be read, or find nothing.
    """
    turn = nib.io_orientation(affine)
    image = torch.from_numpy(np.ascontiguousarray(nib.apply_orientation(volume, turn), dtype=np.float32)).nan_to_num()
    finder, drawer = load_networks(models)
    coarse = _resized(image, COARSE)
    low, high = (float(coarse.quantile(q)) for q in (DARKEST, BRIGHTEST))
    mask = np.zeros(image.shape, dtype=bool)
    if high > low and (box := _box(_largest(_brain(finder, coarse, low, high)), mask.shape)) is not None:
        found = _brain(drawer, _resized(image[box], FINE), low, high)
        inside = _resized(torch.from_numpy(found).float(), mask[box].shape).numpy() > 0.5
        mask[box] = ndimage.binary_fill_holes(_largest(inside))
    if not mask.any():
        raise UserError(f"{path}: deepbet found no brain; give the case a brain_mask")
    back = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), turn)
    return np.ascontiguousarray(nib.apply_orientation(mask, back))


@functools.cache
def load_networks(folder: Path) -> tuple[Any, Any]:
    """Return the network that finds the brain, and the one that draws it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the files are as they are
            finder, drawer = (torch.jit.load(folder / name, "cpu").eval() for name in ("bbox_model.pt", "model.pt"))
    except RuntimeError as error:
        raise UserError(f"deepbet's networks cannot be read ({one_line(error)[:200]})") from None
    return finder, drawer


def _resized(volume: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring a volume (X, Y, Z) to a size, by its nearest voxels."""
    resized: Tensor = F.interpolate(volume[None, None], size, mode="nearest-exact")[0, 0]
    return resized


def _brain(network: Any, volume: Tensor, low: float, high: float) -> np.ndarray:
    """Return where a network sees brain in a volume (X, Y, Z), bool."""
    scaled = ((volume - low) / (high - low)).clamp(0, 1)
    scaled = 0.226 * (scaled - scaled.mean()) / scaled.std() + 0.449
    with torch.inference_mode():
        seen: np.ndarray = network(scaled[None, None])[0, 1].numpy() > 0.5
    return seen


def _largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest piece of a mask; pieces touch by corners too."""
    pieces, n = ndimage.label(mask, np.ones((3, 3, 3)))
    largest: np.ndarray = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax() if n else mask
    return largest


def _box(coarse: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """Return the box around the brain in the whole image of a shape, with a margin; None if there is no brain."""
    box = []
    for axis, size in enumerate(shape):
        planes = np.flatnonzero(coarse.mean(axis=tuple({0, 1, 2} - {axis})) > SHARE)
        if not len(planes):
            return None
        scale = size / coarse.shape[axis]
        first, last = planes[0] * scale, (planes[-1] + 1) * scale
        aside = MARGIN * (last - first)
        box.append(slice(max(0, int(first - aside)), min(size, int(np.ceil(last + aside)))))
    return tuple(box)
