"""Slices that lie in files of their own, put together to volumes, one per subject, as everything else reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from PIL import Image

from multiseg_core.errors import UserError, one_line

from ...base.files import atomic_folder
from ...base.fingerprints import fingerprint
from ..cohorts import Case


def stacked(cases: Sequence[Case], problems: Mapping[str, Sequence[str]], work: Path) -> tuple[Case, ...]:
    """Put the slices of each subject, a case each, together in their order, unless that was done before.

    Cases with problems are left alone, and the other slices of their subjects left out. Volumes are written below
    `work`. Raises `UserError` for a file that is no slice, for slices of one subject that differ in size, and for a
    subject with one slice.
    """
    faulty = [case for case in cases if case.name in problems]
    left_out = {case.subject for case in faulty}
    subjects: dict[str, list[Case]] = {}
    for case in cases:
        if case.subject not in left_out:
            subjects.setdefault(case.subject, []).append(case)
    return (*(_volume(name, slices, work) for name, slices in subjects.items()), *faulty)


def _volume(subject: str, slices: Sequence[Case], work: Path) -> Case:
    first = slices[0]
    files = {role: [case.files[role] for case in slices] for role in first.files}
    if len(slices) < 2:
        raise UserError(
            f"cohorts.{first.cohort}: subject {subject} has one slice; call the slices of a subject alike but for the "
            "number at their end"
        )
    states = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for paths in files.values() for path in paths]
    folder = work / f"{first.cohort}-slices" / f"{subject}-{fingerprint(states)}"
    if not folder.exists():
        with atomic_folder(folder) as part:
            for role, paths in files.items():
                nib.save(_stack(paths), part / f"{role}.nii.gz")
    whole = {role: folder / f"{role}.nii.gz" for role in files}
    return Case.of(first.cohort, subject, whole, subject=subject, labels_on_own_grid=first.labels_on_own_grid)


def _stack(paths: Sequence[Path]) -> nib.Nifti1Image:
    volumes, affines = zip(*map(_read_slice, paths), strict=True)
    for path, volume in zip(paths, volumes, strict=True):
        if volume.shape != volumes[0].shape:
            raise UserError(f"{path}: shape {volume.shape} differs from that of {paths[0].name}, {volumes[0].shape}")
    return nib.Nifti1Image(np.stack(volumes, axis=2), affines[0])


def _read_slice(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a slice, (X, Y), with an affine of its pixels: 1 mm for pictures, seen from their front."""
    try:
        if not path.name.lower().endswith(".png"):
            image = cast(nib.Nifti1Image, nib.load(path))
            pixels = np.asarray(image.dataobj)
            return pixels.reshape(pixels.shape[:2]), image.affine
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
    except Exception as error:  # the libraries raise many kinds
        raise UserError(f"{path}: not a readable slice ({one_line(error)[:80]})") from None
    if pixels.ndim == 3 and (pixels[..., :3] == pixels[..., :1]).all():
        pixels = pixels[..., 0]  # grey levels, written as colours
    if pixels.ndim != 2:
        raise UserError(f"{path}: is a picture in colours; grey levels are expected")
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    return pixels.T, np.diag([1.0, -1.0, 1.0, 1.0])  # rows are counted downwards
