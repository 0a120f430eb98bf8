"""From native NIfTI files to arrays that a network can use, and back (thesis 3.5).

Every case is brought to one orientation and spacing, its brain is found, and it is cropped to the brain, z-scored
inside the brain and set to a fixed value outside. Nothing that happens to an image depends on labels or on the order of
images: a case that is predicted undergoes what it would undergo in training. Each step can be chosen or left out, see
`PreprocessingParams`. The grid of the input is kept, so that predictions return to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from multiseg_core.errors import UserError
from multiseg_core.grids import Grid, field_of_view, is_rotated, voxel_ml, voxel_sizes
from multiseg_core.labels import CodeMap, is_relevant
from multiseg_core.resampling import resample

from ..settings.preprocessing import PreprocessingParams
from .brain_masks import brain_modality, extracted_brain, find_brain
from .cohorts import Case
from .grids import aligned_with_world, rescaled
from .image_files import read_volume, require_same_grid
from .label_resampling import resample_gaussian, resample_labels, resample_nearest, what_is_kept

FloatArray = np.ndarray

CROP_MARGIN = 4
"""Voxels kept around the brain."""


@dataclass(frozen=True)
class Native:
    """Labels on the grid that they were drawn on: what a prediction is scored against.

    Attributes
    ----------
    target
        (X, Y, Z) uint8 positions in the code map's sets; axes nearest to RAS, unless images keep their orientation.
    affine
        (4, 4) voxel to world (mm).
    """

    target: np.ndarray
    affine: FloatArray

    @property
    def grid(self) -> Grid:
        """Its grid."""
        x, y, z = (int(n) for n in self.target.shape)
        return Grid((x, y, z), self.affine)


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
    complete
        As `target`, in the sets of the map of complete labels, or None without such labels.
    kept
        What the grid costs each drawn label, see `resampling.what_is_kept`.
    native
        The labels as they were drawn, or None without labels.
    outside_ml
        Position in the code map's sets -> ml of the drawn label that lie outside the brain, where there are any.
    """

    images: FloatArray
    mask: np.ndarray
    target: np.ndarray | None
    affine: FloatArray
    native_shape: tuple[int, int, int]
    native_affine: FloatArray
    complete: np.ndarray | None = None
    kept: list[dict[str, Any]] = field(default_factory=list)
    native: Native | None = None
    outside_ml: dict[int, float] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """The grid of the arrays."""
        x, y, z = self.mask.shape
        return Grid((x, y, z), self.affine)

    @property
    def native_grid(self) -> Grid:
        """The grid of the input files."""
        return Grid(self.native_shape, self.native_affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel sizes of the arrays, but for the rounding of affines."""
        x, y, z = (round(float(size), 6) for size in voxel_sizes(self.affine))
        return x, y, z


def prepare(
    images: Mapping[str, Path],
    params: PreprocessingParams,
    labels: Path | None = None,
    brain_mask: Path | None = None,
    code_map: CodeMap | None = None,
    labels_on_own_grid: bool = False,
    complete_labels: Path | None = None,
    complete_map: CodeMap | None = None,
) -> Prepared:
    """Preprocess one case.

    Parameters
    ----------
    images
        Modality -> file, in the order of the channels.
    params
        Which steps, and how.
    labels, code_map
        Label file and the meaning of its codes, or neither.
    brain_mask
        Nonzero inside the brain; without it the brain is found as `params.brain_extraction` says.
    labels_on_own_grid
        The labels may have another shape and affine than the images; they are resampled once, from their own grid.
        Where they do not reach, the target is background.
    complete_labels, complete_map
        File of complete labels on the grid of the images and the meaning of its codes, or neither.

    Raises
    ------
    UserError
        Naming the file at fault, see `read_volume`, `require_same_grid` and `find_brain`; also for an image that is
        constant in the brain, an empty mask, a code without mapping, or labels that lie beside the images.
    """
    shown = brain_modality(images)
    named = {shown: images[shown], **images}  # the first is the reference
    others = {"labels": labels, "brain_mask": brain_mask, "complete_labels": complete_labels}
    named |= {role: path for role, path in others.items() if path is not None}
    opened = require_same_grid(named, apart_of(named, params, labels_on_own_grid))
    native = opened[shown]
    turned = opened
    if params.orientation != "native":
        turned = {role: nib.as_closest_canonical(image) for role, image in opened.items()}
    source = {role: Grid.of(image) for role, image in turned.items()}
    grid = store_grid(source[shown], params)

    first = read_volume(images[shown], turned[shown])
    drawn_mask, mask_source = None, source[shown]
    if brain_mask is not None and params.brain_extraction != "none":
        drawn_mask, mask_source = read_volume(brain_mask, turned["brain_mask"]), source["brain_mask"]
    native_mask = find_brain(images[shown], first, source[shown].affine, drawn_mask, params.brain_extraction)
    if native_mask is None:
        native_mask = extracted_brain(first, source[shown].affine, images[shown], params.brain_extraction)
    # a grid that is rotated against the image has corners that the image does not reach
    whole = native_mask.astype(np.float32)
    mask = resample(whole, mask_source, grid, only_inside=is_rotated(mask_source, grid)) > 0.5
    if not mask.any():
        raise UserError(f"{brain_mask or images[shown]}: the brain mask is empty")
    target, own = None, None
    kept: list[dict[str, Any]] = []
    if labels is not None and code_map is not None:
        own = Native(_read_positions(labels, turned["labels"], code_map), source["labels"].affine)
        target, kept = _resampled(labels, own, grid, params, code_map)

    complete = None
    if complete_labels is not None and complete_map is not None:
        positions = _read_positions(complete_labels, turned["complete_labels"], complete_map)
        complete, _ = _resampled(
            complete_labels, Native(positions, source["complete_labels"].affine), grid, params, complete_map
        )

    box = _box(mask, params.crop)
    outside = {} if target is None or code_map is None else labels_outside(target, mask, grid.affine, code_map)
    mask = np.ascontiguousarray(mask[box])
    channels = np.empty((len(images), *mask.shape), dtype=np.float32)
    for channel, (modality, path) in enumerate(images.items()):
        volume = first if modality == shown else read_volume(path, turned[modality])
        if params.resample_to and not field_of_view(source[modality], grid)[box][mask].any():
            raise UserError(f"{path}: lies beside the {shown} of its case; is its affine right?")
        channels[channel] = _normalised(resample(volume, source[modality], grid)[box], mask, params, path)
    return Prepared(
        images=channels,
        mask=mask,
        target=None if target is None else np.ascontiguousarray(target[box]),
        affine=grid.cropped(box).affine,
        native_shape=Grid.of(native).shape,
        native_affine=native.affine,
        complete=None if complete is None else np.ascontiguousarray(complete[box]),
        kept=kept,
        native=own,
        outside_ml=outside,
    )


def apart_of(roles: Collection[str], params: PreprocessingParams, labels_on_own_grid: bool) -> tuple[str, ...]:
    """Return which files of a case may have a grid of their own."""
    return tuple(roles) if params.resample_to else ("labels",) if labels_on_own_grid else ()


def labels_outside(positions: np.ndarray, mask: np.ndarray, affine: FloatArray, code_map: CodeMap) -> dict[int, float]:
    """Return how much of each drawn label lies outside a mask: position in the code map's sets -> ml, if any does."""
    outside = np.bincount(positions[~mask], minlength=len(code_map.sets))
    return {
        at: float(n) * voxel_ml(affine) for at, n in enumerate(outside.tolist()) if n and is_relevant(code_map.sets[at])
    }


def _read_positions(path: Path, image: nib.Nifti1Image, code_map: CodeMap) -> np.ndarray:
    """Read labels on their own grid as positions in the code map's sets, uint8. Raises `UserError` naming the file."""
    codes = read_volume(path, image, np.float64)
    try:
        return code_map.translate(codes)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def store_grid(source: Grid, params: PreprocessingParams) -> Grid:
    """Return the grid that an image is brought to."""
    return (aligned_with_world if params.orientation == "world" else rescaled)(source, params.spacing_mm)


def _resampled(
    path: Path, drawn: Native, grid: Grid, params: PreprocessingParams, code_map: CodeMap
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Bring labels to a grid; return them, and what it costs."""
    positions, source = drawn.target, drawn.grid
    if not field_of_view(source, grid).any():
        raise UserError(f"{path}: lies beside the images of its case; is its affine right?")
    found = LABELS[params.label_interpolation](positions, source, grid)
    return found, what_is_kept(positions, source, found, grid, code_map.sets)


LABELS = {"auto": resample_labels, "nearest": resample_nearest, "gaussian": resample_gaussian}
"""How labels are brought to a grid, by the names of `PreprocessingParams.label_interpolation`."""


def _box(occupied: np.ndarray, crop: bool) -> tuple[slice, ...]:
    """Return the box around what is occupied with its margin, or the whole array."""
    if not crop:
        return tuple(slice(0, n) for n in occupied.shape)
    bounds = ndimage.find_objects(occupied.astype(np.uint8))[0]
    return tuple(
        slice(max(b.start - CROP_MARGIN, 0), min(b.stop + CROP_MARGIN, n))
        for b, n in zip(bounds, occupied.shape, strict=True)
    )


def _normalised(volume: FloatArray, mask: np.ndarray, params: PreprocessingParams, path: Path) -> FloatArray:
    if params.clip_values is not None:
        low, high = params.clip_values
        volume = volume.clip(low, high)
    if params.z_score:
        return z_score(volume, mask, params.outside_value, path, params.clip_percentiles)
    return np.where(mask, volume, np.float32(params.outside_value))


def z_score(
    volume: FloatArray, mask: np.ndarray, outside_value: float, path: Path, limits: Sequence[float] | None = None
) -> FloatArray:
    """Standardise a volume inside the brain (eq. 22) and fix it outside.

    `limits` are two percentiles of the brain that nothing exceeds. Raises `UserError` if the brain is constant.
    """
    inside = volume[mask].astype(np.float64)
    if limits is not None:
        low, high = np.percentile(inside, limits)
        inside, volume = inside.clip(low, high), volume.clip(low, high)
    sd = inside.std()
    if not sd > 1e-6 * max(abs(inside.mean()), 1e-6):
        raise UserError(f"{path}: the image is constant inside the brain")
    return np.where(mask, (volume - inside.mean()) / sd, outside_value).astype(np.float32)


def prepare_case(
    case: Case, params: PreprocessingParams, code_map: CodeMap, complete_map: CodeMap | None = None
) -> Prepared:
    """Preprocess a case of a cohort, with all its images, see `prepare`."""
    return prepare(
        case.images,
        params,
        case.labels,
        case.brain_mask,
        code_map,
        case.labels_on_own_grid,
        case.complete_labels if complete_map is not None else None,
        complete_map,
    )
