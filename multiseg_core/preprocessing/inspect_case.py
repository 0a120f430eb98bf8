"""Look for what is wrong with the files of one case, without preparing it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np

from ..cohorts.loading import Case, Cohort
from ..params import PreprocessingParams
from ..utils.errors import UserError
from .brain_masks import brain_from_stripped
from .grids import Grid, field_of_view, scale_factors
from .image_files import read_volume, require_same_grid
from .prepare import LABELS, store_grid
from .resampling import what_is_kept


def inspect_case(case: Case, cohort: Cohort, preprocessing: PreprocessingParams) -> dict[str, Any]:
    """Read all files of a case.

    Return its grid, voxels per code, what the study's voxels cost its labels, hashes and whether its brain is left to
    ROBEX, or ``{"error": one line}``.
    """
    where = f"cohort {case.cohort}, case {case.name}"
    try:
        opened = require_same_grid(case.files, apart=("labels",) if case.labels_on_own_grid else ())
        volumes = {
            role: read_volume(path, opened[role], np.float64 if "labels" in role else np.float32)
            for role, path in case.files.items()
        }
        for role, path in case.files.items():
            if role in case.images and np.ptp(volumes[role]) == 0:
                raise UserError(f"{path}: the image is constant")
        first = next(iter(case.images))
        mask = _brain_without_robex(case, volumes, opened[first].affine, preprocessing.brain_extraction)
        for role, path in case.images.items():
            if mask is not None and np.ptp(volumes[role][mask]) == 0:
                raise UserError(f"{path}: the image is constant inside the brain")
        voxels = {role: hashlib.sha256(volumes[role].tobytes()).hexdigest()[:16] for role in case.images}
        codes: dict[str, int] = {}
        kept: list[dict[str, Any]] = []
        if case.labels is not None:
            try:
                positions = cohort.code_map.translate(volumes["labels"])
            except UserError as error:
                raise UserError(f"{case.labels}: {error}") from None
            found, counts = np.unique(np.rint(volumes["labels"]), return_counts=True)
            codes = {str(int(code)): int(n) for code, n in zip(found, counts, strict=True)}
            kept = _cost(positions, opened["labels"], opened[first], cohort, preprocessing)
        if case.complete_labels is not None and cohort.complete_map is not None:
            try:
                cohort.complete_map.translate(volumes["complete_labels"])
            except UserError as error:
                raise UserError(f"{case.complete_labels}: {error}") from None
    except UserError as error:
        return {"error": f"{where}: {error}"}
    image = opened[first]
    zooms = nib.affines.voxel_sizes(image.affine)
    return {
        "codes": codes,
        "kept": kept,
        "voxels": voxels,
        "shape": [int(n) for n in image.shape],
        "voxel_mm": [round(float(z), 3) for z in zooms],
        "orientation": "".join(nib.aff2axcodes(image.affine)),
        "robex": mask is None,
    }


def _cost(
    positions: np.ndarray, labels: nib.Nifti1Image, image: nib.Nifti1Image, cohort: Cohort, how: PreprocessingParams
) -> list[dict[str, Any]]:
    """Return what `what_is_kept` says of labels that become coarser along some axis; nothing of others."""
    source = Grid.of(labels)
    to = store_grid(Grid.of(image), how)
    if scale_factors(source, to).max() < 1.01 or not field_of_view(source, to).any():
        return []
    resampled = LABELS[how.label_interpolation](positions, source, to)
    return what_is_kept(positions, source, resampled, to, cohort.code_map.sets)


def _brain_without_robex(
    case: Case, volumes: Mapping[str, np.ndarray], affine: np.ndarray, method: str
) -> np.ndarray | None:
    """Return the brain of a case as `find_brain` does, or None where that would start ROBEX."""
    first = next(iter(case.images))
    if method == "none":
        return np.ones(volumes[first].shape, dtype=bool)
    if case.brain_mask is not None:
        mask = volumes["brain_mask"] > 0
        if not mask.any():
            raise UserError(f"{case.brain_mask}: the brain mask is empty")
        return mask
    return brain_from_stripped(volumes[first], affine, case.images[first]) if method == "auto" else None
