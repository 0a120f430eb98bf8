"""From native NIfTI files to arrays that a network can use, and back (thesis 3.5).

Every case is brought to one orientation and spacing, its brain is found, and it is cropped to the brain, z-scored
inside the brain and set to a fixed value outside. Nothing that happens to an image depends on labels or on the order of
images: a case that is predicted undergoes what it would undergo in training. Each step can be chosen or left out, see
`PreprocessingParams`. The grid of the input is kept, so that predictions return to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from multiseg_core.errors import UserError
from multiseg_core.grids import FloatArray, Grid, field_of_view, is_rotated, voxel_ml
from multiseg_core.labels import CodeMap, is_relevant
from multiseg_core.resampling import resample

from ..settings.preprocessing import PreprocessingParams
from .brain_masks import brain_modality, extracted_brain, find_brain
from .cohorts import Case
from .grids import aligned_with_world, rescaled
from .image_files import canonical, read_codes, read_volume, require_same_grid, turned_as
from .label_resampling import resample_gaussian, resample_labels, resample_nearest, what_is_kept

CROP_MARGIN = 4
"""Voxels kept around the brain."""

LABELS = {"auto": resample_labels, "nearest": resample_nearest, "gaussian": resample_gaussian}
"""How labels are brought to a grid, by the names of `PreprocessingParams.label_interpolation`."""


@dataclass(frozen=True)
class Native:
    """Labels on the grid that they were drawn on: what a prediction is scored against."""

    target: np.ndarray
    """(X, Y, Z) uint8 positions in the code map's sets; axes nearest to RAS, unless images keep their orientation."""
    affine: FloatArray
    """(4, 4) voxel to world (mm)."""

    @property
    def grid(self) -> Grid:
        """Its grid."""
        x, y, z = self.target.shape
        return Grid((x, y, z), self.affine)


@dataclass(frozen=True)
class Prepared:
    """A preprocessed case."""

    images: FloatArray
    """(M, X, Y, Z) float32, modalities in the order of the case."""
    mask: np.ndarray
    """(X, Y, Z) bool, inside the brain."""
    grid: Grid
    """The grid of the arrays."""
    native_grid: Grid
    """The grid of the input files."""
    target: np.ndarray | None = None
    """(X, Y, Z) uint8 positions in the code map's sets; all background without labels, None without a code map."""
    complete: np.ndarray | None = None
    """As `target`, in the sets of the map of complete labels, or None without such labels."""
    kept: list[dict[str, Any]] = field(default_factory=list)
    """What the grid costs each drawn label, see `what_is_kept`."""
    native: Native | None = None
    """The labels as they were drawn, or None without a code map."""
    outside_ml: dict[int, float] = field(default_factory=dict)
    """Position in the code map's sets -> ml of the drawn label that lie outside the brain, where there are any."""


@dataclass(frozen=True)
class OpenCase:
    """A case whose files are open; voxels are read when they are asked for."""

    case: Case
    params: PreprocessingParams
    """What is to be done to it."""
    images: Mapping[str, nib.Nifti1Image]
    """Role, see `Case.files` -> image as its file has it."""
    grids: Mapping[str, Grid]
    """Role -> grid of what `volume` reads: axes nearest to RAS+, unless images keep their orientation."""
    grid: Grid
    """The grid that the case is brought to."""

    @classmethod
    def open(cls, case: Case, params: PreprocessingParams) -> OpenCase:
        """Open all files of a case. Raises `UserError` as `require_same_grid` does."""
        own_grids = tuple(case.files) if params.resample_to else ("labels",) if case.labels_on_own_grid else ()
        images = require_same_grid(case.files, own_grids)
        grids = {role: Grid.of(image) for role, image in images.items()}
        if params.orientation != "native":
            grids = {role: canonical(grid) for role, grid in grids.items()}
        to = aligned_with_world if params.orientation == "world" else rescaled
        return cls(case, params, images, grids, to(grids[brain_modality(case.images)], params.spacing_mm))

    @property
    def shown(self) -> str:
        """The image that shows where the brain is."""
        return brain_modality(self.case.images)

    def volume(self, role: str) -> np.ndarray:
        """Read a file, (X, Y, Z): images and masks as float32, labels as `read_codes` does, which see for errors."""
        path, image = self.case.files[role], self.images[role]
        volume = read_codes(path, image) if "labels" in role else read_volume(path, image)
        return volume if self.params.orientation == "native" else turned_as(volume, image.affine)

    def brain(self, shown: FloatArray, drawn: FloatArray | None) -> tuple[np.ndarray | None, Grid]:
        """Find the brain in the image that shows it, or take the mask of the case; short of ROBEX and deepbet.

        Returns it, (X, Y, Z) bool, and its grid; None where ROBEX or deepbet must find it.
        """
        method, path = self.params.brain_extraction, self.case.images[self.shown]
        source = self.grids[self.shown if drawn is None or method == "none" else "brain_mask"]
        return find_brain(path, shown, self.grids[self.shown].affine, drawn, method), source

    def labels(self, role: str, code_map: CodeMap, codes: np.ndarray) -> tuple[Native, dict[int, int]]:
        """Translate what `volume` read of labels; return positions, and code -> number of its voxels.

        Raises `UserError` naming the file and all codes that the map does not have.
        """
        try:
            positions, counts = _translated(codes, code_map)
        except UserError as error:
            raise UserError(f"{self.case.files[role]}: {error}") from None
        return Native(positions, self.grids[role].affine), counts

    def resampled(self, role: str, drawn: Native, code_map: CodeMap) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Bring labels to the grid of the case; return them and `what_is_kept`. Raises `UserError` if they miss it."""
        if not field_of_view(drawn.grid, self.grid).any():
            raise UserError(f"{self.case.files[role]}: lies beside the images of its case; is its affine right?")
        found = LABELS[self.params.label_interpolation](drawn.target, drawn.grid, self.grid)
        return found, what_is_kept(drawn.target, drawn.grid, found, self.grid, code_map.sets)


def _translated(codes: np.ndarray, code_map: CodeMap) -> tuple[np.ndarray, dict[int, int]]:
    """Do what `CodeMap.translate` does, looking up each code once where they are small; count their voxels."""
    whole = np.rint(codes) if np.issubdtype(codes.dtype, np.floating) else codes
    if whole.min() < 0 or whole.max() >= 2**16 or (whole is not codes and np.abs(codes - whole).max() >= 1e-3):
        found, counts = np.unique(whole, return_counts=True)
        return code_map.translate(codes), dict(zip(found.astype(int).tolist(), counts.tolist(), strict=True))
    whole = whole.astype(np.intp)
    counts = np.bincount(whole.ravel())
    found = np.flatnonzero(counts)
    table = np.zeros(len(counts), dtype=np.uint8)
    try:
        table[found] = code_map.translate(found)
    except UserError:
        code_map.translate(codes)  # which says how many voxels have an unknown code
        raise
    return table[whole], dict(zip(found.tolist(), counts[found].tolist(), strict=True))


def prepare(
    case: Case, params: PreprocessingParams, code_map: CodeMap | None = None, complete_map: CodeMap | None = None
) -> Prepared:
    """Preprocess one case; channels are in the order of its images.

    The maps say what the codes of its labels and of its complete labels mean; without them these are not read. Raises
    `UserError` naming the file at fault, see `read_volume`, `require_same_grid` and `find_brain`; also for an image
    that is constant in the brain, an empty mask, a code without mapping, or labels that lie beside the images.
    """
    opened = OpenCase.open(case if complete_map else replace(case, complete_labels=None), params)
    grid, shown = opened.grid, opened.shown
    first = opened.volume(shown)
    mask = _brain_on_grid(opened, first)
    box = _box(mask, params.crop)
    target = complete = native = None
    kept: list[dict[str, Any]] = []
    outside: dict[int, float] = {}
    if code_map is not None and case.labels is not None:
        native, _ = opened.labels("labels", code_map, opened.volume("labels"))
        target, kept = opened.resampled("labels", native, code_map)
        outside = labels_outside(target, mask, grid.affine, code_map)
    elif code_map is not None:
        native = Native(np.zeros(opened.images[shown].shape, np.uint8), opened.images[shown].affine)
        target = np.zeros(grid.shape, np.uint8)
    if complete_map is not None and case.complete_labels is not None:
        known, _ = opened.labels("complete_labels", complete_map, opened.volume("complete_labels"))
        complete, _ = opened.resampled("complete_labels", known, complete_map)
    mask = np.ascontiguousarray(mask[box])
    channels = np.empty((len(case.images), *mask.shape), dtype=np.float32)
    for channel, (modality, path) in enumerate(case.images.items()):
        volume, source = first if modality == shown else opened.volume(modality), opened.grids[modality]
        if params.resample_to and not field_of_view(source, grid)[box][mask].any():
            raise UserError(f"{path}: lies beside the {shown} of its case; is its affine right?")
        channels[channel] = normalised(resample(volume, source, grid)[box], mask, params, path)
    return Prepared(
        images=channels,
        mask=mask,
        grid=grid.cropped(box),
        native_grid=Grid.of(opened.images[shown]),
        target=None if target is None else np.ascontiguousarray(target[box]),
        complete=None if complete is None else np.ascontiguousarray(complete[box]),
        kept=kept,
        native=native,
        outside_ml=outside,
    )


def _brain_on_grid(opened: OpenCase, first: FloatArray) -> np.ndarray:
    """Return where the brain is on the grid of a case, (X, Y, Z) bool, whoever must find it."""
    case, method = opened.case, opened.params.brain_extraction
    drawn = opened.volume("brain_mask") if case.brain_mask is not None and method != "none" else None
    found, source = opened.brain(first, drawn)
    if found is None:
        found = extracted_brain(first, source.affine, case.images[opened.shown], method)
    # a grid that is rotated against the image has corners that the image does not reach
    rotated = is_rotated(source, opened.grid)
    mask = resample(found.astype(np.float32), source, opened.grid, only_inside=rotated) > 0.5
    if not mask.any():
        raise UserError(f"{case.brain_mask or case.images[opened.shown]}: the brain mask is empty")
    return mask


def labels_outside(positions: np.ndarray, mask: np.ndarray, affine: FloatArray, code_map: CodeMap) -> dict[int, float]:
    """Return how much of each drawn label lies outside a mask: position in the code map's sets -> ml, if any does."""
    outside = np.bincount(positions[~mask], minlength=len(code_map.sets))
    return {
        at: float(n) * voxel_ml(affine) for at, n in enumerate(outside.tolist()) if n and is_relevant(code_map.sets[at])
    }


def _box(occupied: np.ndarray, crop: bool) -> tuple[slice, ...]:
    """Return the box around what is occupied with its margin, or the whole array."""
    if not crop:
        return tuple(slice(0, n) for n in occupied.shape)
    bounds = ndimage.find_objects(occupied.astype(np.uint8))[0]
    return tuple(
        slice(max(b.start - CROP_MARGIN, 0), min(b.stop + CROP_MARGIN, n))
        for b, n in zip(bounds, occupied.shape, strict=True)
    )


def normalised(volume: FloatArray, mask: np.ndarray, params: PreprocessingParams, path: Path) -> FloatArray:
    """Limit the values of an image, standardise it inside the brain (eq. 22) and fix it outside, as the params say.

    Returns (X, Y, Z) float32. Raises `UserError` naming the file if the brain is constant.
    """
    if params.clip_values is not None:
        low, high = params.clip_values
        volume = volume.clip(low, high)
    if not params.z_score:
        return np.where(mask, volume, np.float32(params.outside_value))
    inside = volume[mask].astype(np.float64)
    if params.clip_percentiles is not None:
        low, high = np.percentile(inside, params.clip_percentiles)
        inside, volume = inside.clip(low, high), volume.clip(low, high)
    sd = inside.std()
    if not sd > 1e-6 * max(abs(inside.mean()), 1e-6):
        raise UserError(f"{path}: the image is constant inside the brain")
    return np.where(mask, (volume - inside.mean()) / sd, params.outside_value).astype(np.float32)
