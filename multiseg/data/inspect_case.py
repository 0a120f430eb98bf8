"""Look for what is wrong with the files of one case, without preparing it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from multiseg_core.errors import UserError
from multiseg_core.grids import Grid, field_of_view, scale_factors, voxel_ml
from multiseg_core.labels import CodeMap, is_relevant

from ..settings.preprocessing import PreprocessingParams
from .brain_masks import brain_from_stripped, brain_modality, find_brain
from .grids import shear_degrees
from .image_files import SAME_MM, read_volume, require_same_grid
from .label_resampling import what_is_kept
from .loading import Case, Cohort
from .prepare import LABELS, apart_of, labels_outside, store_grid

TWISTED_MM = 1.0
"""From how far apart on the two places that a NIfTI header gives a voxel are worth a word."""

SHEARED_DEGREES = 1.0
"""From which angle on axes that are not at right angles are."""

OUTSIDE = 0.01
"""Share of a label outside the brain from which on it is worth a word."""


def inspect_case(case: Case, cohort: Cohort, preprocessing: PreprocessingParams) -> dict[str, Any]:
    """Read all files of a case.

    Return its grid, voxels per code, where they lie, what the study's voxels cost its labels, hashes, whether its brain
    is left to ROBEX, and what looks odd (kind -> remark), or ``{"errors": [one line each]}``.
    """
    where = f"cohort {case.cohort}, case {case.name}"
    try:
        opened = require_same_grid(case.files, apart_of(case.files, preprocessing, case.labels_on_own_grid))
    except UserError as error:
        return {"errors": [f"{where}: {line}" for line in str(error).split("\n")]}
    errors: list[str] = []
    volumes: dict[str, np.ndarray] = {}
    positions: np.ndarray | None = None
    mask: np.ndarray | None = None
    for role, path in case.files.items():
        try:
            volumes[role] = read_volume(path, opened[role], np.float64 if "labels" in role else np.float32)
            if role in case.images and np.ptp(volumes[role]) == 0:
                raise UserError(f"{path}: the image is constant")
        except UserError as error:
            errors.append(str(error))
    shown = brain_modality(case.images)
    if not errors:
        try:
            mask = _brain_without_robex(case, shown, volumes, opened, preprocessing)
        except UserError as error:
            errors.append(str(error))
    for role, code_map in (("labels", cohort.code_map), ("complete_labels", cohort.complete_map)):
        if role in volumes and code_map is not None:
            try:
                found = code_map.translate(volumes[role])
                positions = found if role == "labels" else positions
            except UserError as error:
                errors.append(f"{case.files[role]}: {error}")
    if errors:
        return {"errors": [f"{where}: {line}" for error in errors for line in error.split("\n")]}
    image, robex = opened[shown], mask is None
    here = {role: volumes[role] for role in volumes if _same_place(opened[role], image)}
    mask = mask if "brain_mask" in here or "brain_mask" not in volumes else None
    odd = _odd_headers(case, opened) | _odd_images(case, shown, here, mask, image, preprocessing)
    codes: dict[str, int] = {}
    kept: list[dict[str, Any]] = []
    places: dict[str, list[float]] = {}
    if positions is not None:
        found, counts = np.unique(np.rint(volumes["labels"]), return_counts=True)
        codes = {str(int(code)): int(n) for code, n in zip(found, counts, strict=True)}
        kept = _cost(positions, opened["labels"], image, cohort, preprocessing)
        places = _places(positions, opened["labels"].affine, cohort.code_map)
        if mask is not None and "labels" in here:
            odd |= _odd_labels(positions, mask, image.affine, cohort.code_map)
    drawn = {"labels": volumes["labels"]} if any(code != "0" for code in codes) else {}
    return {
        "codes": codes,
        "kept": kept,
        "places": places,
        "odd": odd,
        "voxels": {role: _hash(volumes[role], opened[role]) for role in case.images},
        "labels": {role: _hash(volume, opened[role]) for role, volume in drawn.items()},
        "shape": [int(n) for n in image.shape],
        "voxel_mm": [round(float(z), 3) for z in nib.affines.voxel_sizes(image.affine)],
        "orientation": "".join(nib.aff2axcodes(image.affine)),
        "robex": robex,
    }


def _same_place(image: nib.Nifti1Image, other: nib.Nifti1Image) -> bool:
    return image.shape == other.shape and np.allclose(image.affine, other.affine, atol=2 * SAME_MM)


def _hash(volume: np.ndarray, image: nib.Nifti1Image) -> str:
    """Hash an image's voxels, whatever the order and direction of its axes and the type of its numbers."""
    turned = nib.orientations.apply_orientation(volume, nib.io_orientation(image.affine))
    return hashlib.sha256(np.ascontiguousarray(turned, dtype=np.float32).tobytes()).hexdigest()[:16]


def _odd_headers(case: Case, opened: Mapping[str, nib.Nifti1Image]) -> dict[str, str]:
    """Find headers that give a voxel two places, and axes that are not at right angles."""
    odd = {}
    for role, image in opened.items():
        if (angle := shear_degrees(image.affine)) > SHEARED_DEGREES:
            odd["sheared"] = (
                f"the axes of {case.files[role].name} are {angle:.0f} degrees from right angles; volumes are right, "
                "distances are measured as if they were at right angles"
            )
        if not isinstance(image, nib.Nifti1Image) or not image.header["sform_code"] or not image.header["qform_code"]:
            continue
        corners = np.array(list(itertools.product(*((0, n - 1) for n in image.shape))))
        try:
            ways = [nib.affines.apply_affine(a, corners) for a in (image.get_sform(), image.get_qform())]
        except (ValueError, nib.spatialimages.HeaderDataError):
            continue
        apart = float(np.linalg.norm(ways[0] - ways[1], axis=1).max())
        if apart > TWISTED_MM:
            odd["twisted"] = f"sform and qform of {case.files[role].name} lie {apart:.0f} mm apart; the sform is taken"
    return odd


def _odd_images(
    case: Case,
    shown: str,
    volumes: Mapping[str, np.ndarray],
    mask: np.ndarray | None,
    image: nib.Nifti1Image,
    preprocessing: PreprocessingParams,
) -> dict[str, str]:
    """Find masks that do not fit, images that are the same, and voxels that flatten an image."""
    odd: dict[str, str] = {}
    if mask is None or preprocessing.brain_extraction == "none":
        return odd
    faces = np.concatenate([np.take(mask, at, axis).ravel() for axis in range(3) for at in (0, -1)])
    if case.brain_mask is not None:
        if faces.mean() > 0.5:
            odd["inverted"] = f"{case.brain_mask.name} holds most of the image's faces; is it inverted?"
        stripped = None
        if "inverted" not in odd:
            stripped = brain_from_stripped(volumes[shown], image.affine, case.images[shown])
        if stripped is not None and (share := (mask & stripped).sum() / stripped.sum()) < 0.8:
            odd["cut"] = f"{case.brain_mask.name} holds only {share:.0%} of what {shown} shows; is it cut or shifted?"
    else:
        background = float(np.median(volumes[shown][~mask])) if not mask.all() else 0.0
        near = np.abs(volumes[shown] - background) <= 0.01 * np.ptp(np.percentile(volumes[shown], [0.5, 99.5]))
        share = float(near[mask].mean())
        if share > 0.1:
            odd["head"] = (
                f"{shown} looks brain-extracted, but {share:.0%} of what it holds is as dark as its background, as "
                "skull and air are; is it a head? Then give it a brain_mask, or set brain_extraction: robex"
            )
    inside = {m: volumes[m][mask] for m in case.images if m in volumes}
    for a, b in itertools.combinations(inside, 2):
        if np.ptp(inside[a]) and np.ptp(inside[b]) and np.corrcoef(inside[a], inside[b])[0, 1] > 0.9999:
            odd["same"] = f"{a} and {b} are the same image"
    for m, values in inside.items():
        middle = np.ptp(np.percentile(values, [1, 99]))
        if preprocessing.z_score and preprocessing.clip_percentiles is None and values.std() > 2 * middle > 0:
            odd["flat"] = (
                f"single voxels of {m} reach {np.abs(values).max():.3g}, so that all others look alike once it is "
                "standardised; preprocessing.clip_percentiles: [0.5, 99.5] would limit them"
            )
    return odd


def _odd_labels(positions: np.ndarray, mask: np.ndarray, affine: np.ndarray, code_map: CodeMap) -> dict[str, str]:
    """Find labels of which more than a little lies outside the brain."""
    parts = []
    for at, ml in labels_outside(positions, mask, affine, code_map).items():
        share = ml / (np.count_nonzero(positions == at) * voxel_ml(affine))
        if share > OUTSIDE:
            parts.append(f"{share:.0%} of {'|'.join(sorted(code_map.sets[at]))} ({ml:.2g} ml)")
    return {"outside": f"{', '.join(parts)} lies outside the brain and cannot be learned"} if parts else {}


def _places(positions: np.ndarray, affine: np.ndarray, code_map: CodeMap) -> dict[str, list[float]]:
    """Return where drawn labels lie: position -> mean x, y and z in mm and standard deviation of x."""
    places = {}
    boxes = ndimage.find_objects(positions)
    for at, box in enumerate(boxes, start=1):
        if box is None or not is_relevant(code_map.sets[at]):
            continue
        where = np.argwhere(positions[box] == at) + [part.start for part in box]
        world = nib.affines.apply_affine(affine, where)
        places[str(at)] = [*world.mean(axis=0).round(2).tolist(), round(float(world[:, 0].std()), 2)]
    return places


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
    case: Case,
    shown: str,
    volumes: Mapping[str, np.ndarray],
    opened: Mapping[str, nib.Nifti1Image],
    preprocessing: PreprocessingParams,
) -> np.ndarray | None:
    """Return the brain of a case as `prepare` finds it, or None where that would start ROBEX."""
    drawn = volumes.get("brain_mask")
    if drawn is not None and preprocessing.brain_extraction != "none" and not (drawn > 0).any():
        raise UserError(f"{case.brain_mask}: the brain mask is empty")
    method = preprocessing.brain_extraction
    mask = find_brain(case.images[shown], volumes[shown], opened[shown].affine, drawn, method)
    for role, path in case.images.items():
        if mask is not None and volumes[role].shape == mask.shape and np.ptp(volumes[role][mask]) == 0:
            remark = f"; is {case.brain_mask.name} inverted?" if case.brain_mask else ""
            raise UserError(f"{path}: the image is constant inside the brain{remark}")
    return mask
