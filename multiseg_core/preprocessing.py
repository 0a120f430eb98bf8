"""From native NIfTI files to arrays that a network can use, and back (thesis 3.5).

Every case is brought to the closest canonical (RAS) orientation and an isotropic spacing, cropped to the brain and
its labels, z-scored inside the brain and set to a fixed value outside. The grid of the input is kept, so that
predictions return to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_from_to
from scipy import ndimage

from .cohorts.base import Case
from .errors import UserError
from .images import read_volume, require_same_grid
from .labels import CodeMap
from .params import PreprocessingParams

FloatArray = np.ndarray

CROP_MARGIN = 4
"""Voxels kept around the brain."""


@dataclass(frozen=True)
class Prepared:
    """A preprocessed case.

    Attributes
    ----------
    images
        (M, X, Y, Z) float32, modalities in the order asked for.
    mask
        (X, Y, Z) bool, inside the brain.
    target
        (X, Y, Z) uint8 positions in the code map's sets, or None without labels.
    affine
        (4, 4) voxel to world (mm) of the arrays above.
    native_shape, native_affine
        Grid of the input files.
    """

    images: FloatArray
    mask: np.ndarray
    target: np.ndarray | None
    affine: FloatArray
    native_shape: tuple[int, int, int]
    native_affine: FloatArray


def brain_from_stripped(volume: FloatArray, path: Path) -> np.ndarray:
    """Find the brain in a brain-extracted image: what differs from its constant background, filled.

    Parameters
    ----------
    volume
        (X, Y, Z) float32.
    path
        Named in the error.

    Raises
    ------
    UserError
        If the image has no constant background, that is, if it does not look brain-extracted.
    """
    background = float(np.median(np.concatenate([face.ravel() for face in _faces(volume)])))
    inside = np.abs(volume - background) > 0.01 * np.ptp(np.percentile(volume, [0.5, 99.5]))
    if np.mean([face.mean() for face in _faces(inside)]) > 0.2:
        raise UserError(f"{path}: does not look brain-extracted; give the case a brain_mask")
    labelled, n_regions = ndimage.label(inside)
    if n_regions == 0:
        raise UserError(f"{path}: the image is constant")
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(labelled == sizes.argmax())


def _faces(volume: np.ndarray) -> list[np.ndarray]:
    return [np.take(volume, index, axis) for axis in range(3) for index in (0, -1)]


def isotropic_grid(
    shape: tuple[int, ...], affine: FloatArray, spacing_mm: float
) -> tuple[tuple[int, int, int], FloatArray]:
    """Return shape and affine of the isotropic grid over the same field of view and with the same axes."""
    old = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    extent = np.asarray(shape) * old
    new_shape = np.maximum(np.ceil(extent / spacing_mm - 1e-3), 1).astype(int)
    new_affine = affine.copy()
    new_affine[:3, :3] = affine[:3, :3] / old * spacing_mm
    # the outer faces of the first voxels coincide: their centres differ by half a voxel size
    new_affine[:3, 3] += affine[:3, :3] @ ((spacing_mm / old - 1) / 2)
    return (int(new_shape[0]), int(new_shape[1]), int(new_shape[2])), new_affine


def _resample(volume: FloatArray, affine: FloatArray, shape: tuple[int, ...], to: FloatArray, order: int) -> FloatArray:
    if volume.shape == shape and np.allclose(affine, to, atol=1e-5):
        return volume
    matrix = np.linalg.inv(affine) @ to
    scale = np.diag(matrix)[:3]
    if np.allclose(matrix[:3, :3], np.diag(scale), atol=1e-6):  # the same axes: scipy has a faster way for that
        return ndimage.affine_transform(volume, scale, matrix[:3, 3], shape, order=order, mode="nearest")
    image = nib.Nifti1Image(volume, affine)
    return np.asarray(resample_from_to(image, (shape, to), order=order, mode="nearest").dataobj)


def prepare(
    images: Mapping[str, Path],
    params: PreprocessingParams,
    labels: Path | None = None,
    brain_mask: Path | None = None,
    code_map: CodeMap | None = None,
) -> Prepared:
    """Preprocess one case.

    Parameters
    ----------
    images
        Modality -> file, in the order of the channels.
    params
        Spacing and the value outside the brain.
    labels, code_map
        Label file and the meaning of its codes, or neither.
    brain_mask
        Nonzero inside the brain; without it the first image must be brain-extracted.

    Raises
    ------
    UserError
        Naming the file at fault, see `read_volume`, `require_same_grid` and `brain_from_stripped`; also for an
        image that is constant in the brain, an empty mask, or a code without mapping.
    """
    named = {**images, **({"labels": labels} if labels else {}), **({"brain_mask": brain_mask} if brain_mask else {})}
    opened = require_same_grid(named)
    canonical = {role: nib.as_closest_canonical(image) for role, image in opened.items()}
    reference = next(iter(canonical.values()))
    affine = reference.affine
    grid_shape, grid_affine = isotropic_grid(reference.shape, affine, params.spacing_mm)

    first_volume = read_volume(next(iter(images.values())), reference)
    if brain_mask is not None:
        native_mask = read_volume(brain_mask, canonical["brain_mask"]) > 0
    else:
        native_mask = brain_from_stripped(first_volume, next(iter(images.values())))
    mask = _resample(native_mask.astype(np.float32), affine, grid_shape, grid_affine, 1) > 0.5
    if not mask.any():
        raise UserError(f"{brain_mask or next(iter(images.values()))}: the brain mask is empty")

    target = None
    if labels is not None and code_map is not None:
        native_codes = read_volume(labels, canonical["labels"], np.float64)
        try:
            positions = code_map.translate(native_codes)
        except UserError as error:
            raise UserError(f"{labels}: {error}") from None
        target = _resample(positions, affine, grid_shape, grid_affine, 0).astype(np.uint8)

    occupied = mask if target is None else mask | (target != 0)
    bounds = ndimage.find_objects(occupied.astype(np.uint8))[0]
    crop = tuple(
        slice(max(b.start - CROP_MARGIN, 0), min(b.stop + CROP_MARGIN, n))
        for b, n in zip(bounds, grid_shape, strict=True)
    )
    mask = np.ascontiguousarray(mask[crop])
    channels = np.empty((len(images), *mask.shape), dtype=np.float32)
    for channel, (modality, path) in enumerate(images.items()):
        volume = first_volume if channel == 0 else read_volume(path, canonical[modality])
        resampled = _resample(volume, affine, grid_shape, grid_affine, 1)[crop]
        channels[channel] = z_score(resampled, mask, params.outside_value, path)
    cropped_affine = grid_affine.copy()
    cropped_affine[:3, 3] += grid_affine[:3, :3] @ [s.start for s in crop]
    native = next(iter(opened.values()))
    return Prepared(
        images=channels,
        mask=mask,
        target=None if target is None else np.ascontiguousarray(target[crop]),
        affine=cropped_affine,
        native_shape=tuple(int(n) for n in native.shape),  # type: ignore[arg-type]
        native_affine=native.affine,
    )


def z_score(volume: FloatArray, mask: np.ndarray, outside_value: float, path: Path) -> FloatArray:
    """Standardise a volume inside the brain (eq. 22) and fix it outside. Raises `UserError` if it is constant there."""
    inside = volume[mask].astype(np.float64)
    sd = inside.std()
    if not sd > 1e-6 * max(abs(inside.mean()), 1e-6):
        raise UserError(f"{path}: the image is constant inside the brain")
    return np.where(mask, (volume - inside.mean()) / sd, outside_value).astype(np.float32)


def prepare_case(case: Case, modalities: tuple[str, ...], params: PreprocessingParams, code_map: CodeMap) -> Prepared:
    """Preprocess a case of a cohort, see `prepare`."""
    images = {m: case.images[m] for m in modalities}
    return prepare(images, params, case.labels, case.brain_mask, code_map)


def to_native(
    probabilities: FloatArray, affine: FloatArray, native_shape: tuple[int, int, int], native_affine: FloatArray
) -> np.ndarray:
    """Bring a segmentation to another grid: each class is interpolated linearly, then the most probable wins.

    Parameters
    ----------
    probabilities
        (C, X, Y, Z) float32, class 0 is background and is assumed beyond the array.
    affine
        (4, 4) voxel to world of `probabilities`.
    native_shape, native_affine
        The grid to return to, any orientation and spacing.

    Returns
    -------
    np.ndarray
        Class numbers, uint8, `native_shape`.
    """

    def resample(volume: FloatArray, order: int, mode: str) -> FloatArray:
        image = nib.Nifti1Image(volume.astype(np.float32), affine)
        at = resample_from_to(image, (native_shape, native_affine), order=order, mode=mode, cval=0.0)
        return np.asarray(at.dataobj, dtype=np.float32)

    best = np.zeros(native_shape, dtype=np.float32)
    result = np.zeros(native_shape, dtype=np.uint8)
    for c, volume in enumerate(probabilities):
        # the centres of the outermost native voxels may lie beyond the last centres of a coarser grid
        values = resample(volume, order=1, mode="nearest")
        better = values > best
        result[better] = c
        best[better] = values[better]
    # but not beyond its outermost voxels
    result[resample(np.ones(probabilities.shape[1:]), order=0, mode="grid-constant") < 0.5] = 0
    return result
