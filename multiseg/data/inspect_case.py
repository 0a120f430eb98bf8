"""Look for what is wrong with the files of one case, as far as `prepare` would read them, without preparing it."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from multiseg_core.errors import UserError
from multiseg_core.files import write_json
from multiseg_core.grids import scale_factors, transformed, voxel_ml
from multiseg_core.labels import CodeMap, is_relevant

from ..base.workers import Report, no_report
from ..settings.preprocessing import PreprocessingParams
from .brain_masks import brain_from_stripped, faces
from .cohorts import Case, Cohort
from .grids import shear_degrees
from .image_files import SAME_MM, most_apart_mm, turned_as
from .prepare import Native, OpenCase, labels_outside

TWISTED_MM = 1.0
"""From how far apart on the two places that a NIfTI header gives a voxel are worth a word."""

SHEARED_DEGREES = 1.0
"""From which angle on axes that are not at right angles are."""

OUTSIDE = 0.01
"""Share of a label outside the brain from which on it is worth a word."""


def inspect_cases(
    cases: Sequence[tuple[Case, Cohort, Path]], preprocessing: PreprocessingParams, report: Report = no_report
) -> list[dict[str, Any]]:
    """Inspect cases, each of a cohort; what is found of a sound one is also written to its file."""
    results = []
    for i, (case, cohort, file) in enumerate(cases):
        report(i / len(cases), "…")
        results.append(inspect_case(case, cohort, preprocessing))
        if "errors" not in results[-1]:
            with contextlib.suppress(OSError):  # a folder that only others may write to: look again next time
                write_json(file, results[-1])
    return results


def inspect_case(case: Case, cohort: Cohort, preprocessing: PreprocessingParams) -> dict[str, Any]:
    """Read all files of a case.

    Return its grid, voxels per code, where they lie, what the study's voxels cost its labels, hashes, whether its brain
    is left to ROBEX, and what looks odd (kind -> remark), or ``{"errors": [one line each]}``.
    """
    try:
        opened = OpenCase.open(case, preprocessing)
        read = _read(opened, cohort)
    except UserError as error:
        return {"errors": [f"cohort {case.cohort}, case {case.name}: {line}" for line in str(error).split("\n")]}
    image, drawn = opened.images[opened.shown], read.drawn
    here = {role: volume for role, volume in read.volumes.items() if _same_place(opened.images[role], image)}
    mask = read.mask if "brain_mask" in here or case.brain_mask is None else None
    remarks = _header_remarks(opened) | _image_remarks(opened, here, mask)
    if drawn is not None and mask is not None and "labels" in here:
        remarks |= _label_remarks(drawn, mask, cohort.code_map)
    hashed = [*case.images, *(["labels"] if any(read.codes) else [])]
    hashes = {role: _hash(read.volumes[role], opened.grids[role].affine) for role in hashed}
    return {
        "codes": {str(code): n for code, n in read.codes.items()},
        "kept": [] if drawn is None else _cost(opened, drawn, cohort.code_map),
        "places": {} if drawn is None else _places(drawn, cohort.code_map),
        "remarks": remarks,
        "voxels": {role: hashes[role] for role in case.images},
        "labels": {role: value for role, value in hashes.items() if role == "labels"},
        "shape": [int(n) for n in image.shape],
        "voxel_mm": [round(float(z), 3) for z in nib.affines.voxel_sizes(image.affine)],
        "orientation": "".join(nib.aff2axcodes(image.affine)),
        "robex": read.mask is None,
    }


def _same_place(image: nib.Nifti1Image, other: nib.Nifti1Image) -> bool:
    return image.shape == other.shape and np.allclose(image.affine, other.affine, atol=2 * SAME_MM)


@dataclass
class _Read:
    """What the files of a case hold; no mask where ROBEX must find the brain."""

    volumes: dict[str, np.ndarray] = field(default_factory=dict)
    mask: np.ndarray | None = None
    drawn: Native | None = None
    codes: dict[int, int] = field(default_factory=dict)


def _read(opened: OpenCase, cohort: Cohort) -> _Read:
    """Read a case. Raises `UserError` with a line for all that is wrong with it."""
    case, read = opened.case, _Read()
    errors: list[str] = []
    for role, path in case.files.items():
        with _added_to(errors):
            read.volumes[role] = opened.volume(role)
            if role in case.images and np.ptp(read.volumes[role]) == 0:
                raise UserError(f"{path}: the image is constant")
    if not errors:
        with _added_to(errors):
            read.mask = _brain(opened, read.volumes)
    if "labels" in read.volumes:
        with _added_to(errors):
            read.drawn, read.codes = opened.labels("labels", cohort.code_map, read.volumes["labels"])
    if "complete_labels" in read.volumes and cohort.complete_map is not None:
        with _added_to(errors):
            opened.labels("complete_labels", cohort.complete_map, read.volumes["complete_labels"])
    if errors:
        raise UserError("\n".join(errors))
    return read


@contextlib.contextmanager
def _added_to(errors: list[str]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        errors.append(str(error))


def _brain(opened: OpenCase, volumes: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return the brain of a case as `prepare` finds it, or None where that would start ROBEX."""
    case, drawn = opened.case, volumes.get("brain_mask")
    if drawn is not None and opened.params.brain_extraction != "none" and not (drawn > 0).any():
        raise UserError(f"{case.brain_mask}: the brain mask is empty")
    mask, _ = opened.brain(volumes[opened.shown], drawn)
    for role, path in case.images.items():
        if mask is not None and volumes[role].shape == mask.shape and np.ptp(volumes[role][mask]) == 0:
            remark = f"; is {case.brain_mask.name} inverted?" if case.brain_mask else ""
            raise UserError(f"{path}: the image is constant inside the brain{remark}")
    return mask


def _hash(volume: np.ndarray, affine: np.ndarray) -> str:
    """Hash an image's voxels, whatever the order and direction of its axes and the type of its numbers."""
    turned = np.ascontiguousarray(turned_as(volume, affine), dtype=np.float32)
    return hashlib.sha256(turned.data).hexdigest()[:16]


def _header_remarks(opened: OpenCase) -> dict[str, str]:
    """Find headers that give a voxel two places, and axes that are not at right angles."""
    remarks = {}
    for role, image in opened.images.items():
        name = opened.case.files[role].name
        if (angle := shear_degrees(image.affine)) > SHEARED_DEGREES:
            remarks["sheared"] = (
                f"the axes of {name} are {angle:.0f} degrees from right angles; volumes are right, "
                "distances are measured as if they were at right angles"
            )
        if not isinstance(image, nib.Nifti1Image) or not image.header["sform_code"] or not image.header["qform_code"]:
            continue
        with contextlib.suppress(ValueError, nib.spatialimages.HeaderDataError):
            apart = most_apart_mm(image.affine, image.get_qform(), image.shape)  # the affine is the sform
            if apart > TWISTED_MM:
                remarks["twisted"] = f"sform and qform of {name} lie {apart:.0f} mm apart; the sform is taken"
    return remarks


def _image_remarks(opened: OpenCase, volumes: Mapping[str, np.ndarray], mask: np.ndarray | None) -> dict[str, str]:
    """Find masks that do not fit, images that are the same, and voxels that flatten an image."""
    case, shown, params = opened.case, opened.shown, opened.params
    remarks: dict[str, str] = {}
    if mask is None or params.brain_extraction == "none":
        return remarks
    if case.brain_mask is not None:
        stripped = None
        if np.concatenate([face.ravel() for face in faces(mask)]).mean() > 0.5:
            remarks["inverted"] = f"{case.brain_mask.name} holds most of the image's faces; is it inverted?"
        else:
            stripped = brain_from_stripped(volumes[shown], opened.grids[shown].affine, case.images[shown])
        if stripped is not None and (share := (mask & stripped).sum() / stripped.sum()) < 0.8:
            remarks["cut"] = (
                f"{case.brain_mask.name} holds only {share:.0%} of what {shown} shows; is it cut or shifted?"
            )
    else:
        background = float(np.median(volumes[shown][~mask])) if not mask.all() else 0.0
        near = np.abs(volumes[shown] - background) <= 0.01 * np.ptp(np.percentile(volumes[shown], [0.5, 99.5]))
        share = float(near[mask].mean())
        if share > 0.1:
            remarks["head"] = (
                f"{shown} looks brain-extracted, but {share:.0%} of what it holds is as dark as its background, as "
                "skull and air are; is it a head? Then give it a brain_mask, or set brain_extraction: robex"
            )
    inside = {m: volumes[m][mask] for m in case.images if m in volumes}
    for a, b in itertools.combinations(inside, 2):
        if np.ptp(inside[a]) and np.ptp(inside[b]) and np.corrcoef(inside[a], inside[b])[0, 1] > 0.9999:
            remarks["same"] = f"{a} and {b} are the same image"
    for m, values in inside.items() if params.z_score and params.clip_percentiles is None else ():
        if values.std() > 2 * np.ptp(np.percentile(values, [1, 99])) > 0:
            remarks["flat"] = (
                f"single voxels of {m} reach {np.abs(values).max():.3g}, so that all others look alike once it is "
                "standardised; preprocessing.clip_percentiles: [0.5, 99.5] would limit them"
            )
    return remarks


def _label_remarks(drawn: Native, mask: np.ndarray, code_map: CodeMap) -> dict[str, str]:
    """Find labels of which more than a little lies outside the brain."""
    parts = []
    for at, ml in labels_outside(drawn.target, mask, drawn.affine, code_map).items():
        share = ml / (np.count_nonzero(drawn.target == at) * voxel_ml(drawn.affine))
        if share > OUTSIDE:
            parts.append(f"{share:.0%} of {'|'.join(sorted(code_map.sets[at]))} ({ml:.2g} ml)")
    return {"outside": f"{', '.join(parts)} lies outside the brain and cannot be learned"} if parts else {}


def _places(drawn: Native, code_map: CodeMap) -> dict[str, list[float]]:
    """Return where drawn labels lie: position -> mean x, y and z in mm and standard deviation of x."""
    places = {}
    for at, box in enumerate(ndimage.find_objects(drawn.target), start=1):
        if box is not None and is_relevant(code_map.sets[at]):
            where = np.argwhere(drawn.target[box] == at) + [part.start for part in box]
            world = transformed(drawn.affine, where)
            places[str(at)] = [*world.mean(axis=0).round(2).tolist(), round(float(world[:, 0].std()), 2)]
    return places


def _cost(opened: OpenCase, drawn: Native, code_map: CodeMap) -> list[dict[str, Any]]:
    """Return what `what_is_kept` says of labels that become coarser along some axis; nothing of others."""
    if scale_factors(drawn.grid, opened.grid).max() < 1.01:
        return []
    try:
        return opened.resampled("labels", drawn, code_map)[1]
    except UserError:  # they lie beside the images, which `prepare` will say
        return []
