"""Phantom cases as files: the same NIfTI that a real cohort would deliver, written when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np

from ...base.files import atomic_folder
from ...base.fingerprints import code_fingerprint, fingerprint
from ..cohorts import Case
from . import abdomen
from .presets import CODES, Preset, make_case, subject_name
from .presets import PRESETS as HEADS

__all__ = ["CODES", "HEADS", "PRESETS", "ensure_files", "modalities_of", "phantom_cases"]

PRESETS: Mapping[str, Preset | abdomen.Abdomen] = {**HEADS, **abdomen.ABDOMENS}
"""All cohorts that can be imitated, by name: heads, and abdomens."""

HEAD_MM = (136.0, 171.0, 150.0)
"""Extent of the brain of the average phantom, from left to right, back to front and foot to head."""


def modalities_of(preset: str) -> tuple[str, ...]:
    """Return the images of a cohort."""
    found = PRESETS[preset]
    return found.scanner.modalities if isinstance(found, Preset) else found.modalities


def phantom_cases(
    cohort: str, preset: str, n_cases: int, voxel_mm: float, seed: int, work: Path, prefix: str
) -> tuple[Case, ...]:
    """List the cases of a phantom cohort, whose files `ensure_files` makes.

    Parameters
    ----------
    cohort
        Name of the cohort in the study.
    preset
        The cohort that is imitated.
    n_cases, voxel_mm, seed
        See `multiseg.settings.params.CohortParams`.
    work
        Folder under which the files are kept.
    prefix
        Of the names of the cases, before their numbers.
    """
    made_by = {
        "preset": preset,
        "voxel_mm": voxel_mm,
        "seed": seed,
        "look": fingerprint(asdict(PRESETS[preset])),
        "code": code_fingerprint("multiseg.data.phantom"),
    }
    folder = work / f"{cohort}-{fingerprint(made_by)}"
    cases = []
    for index in range(n_cases):
        name = f"{prefix}_{index + 1:02d}"
        at = folder / name
        cases.append(
            Case(
                cohort=cohort,
                name=name,
                images={m: at / f"{m}.nii.gz" for m in modalities_of(preset)},
                labels=at / "labels.nii.gz",
                brain_mask=at / "brain_mask.nii.gz",
                made_by={**made_by, "index": index},
                complete_labels=at / "complete_truth.nii.gz",
                subject=subject_name(preset, index, seed) if preset in HEADS else f"{preset}-{seed}-{index + 1:02d}",
            )
        )
    return tuple(cases)


def ensure_files(case: Case) -> None:
    """Write the files of a generated case unless they are there. Other cases are left alone."""
    if case.made_by is None or case.labels is None or case.labels.exists():
        return
    how = case.made_by
    size = float(how["voxel_mm"])  # type: ignore[arg-type]
    preset, index, seed = str(how["preset"]), int(how["index"]), int(how["seed"])  # type: ignore[call-overload]
    if preset in HEADS:
        phantom = make_case(preset, index, (size, size, size), seed)
    else:
        phantom = abdomen.make(abdomen.ABDOMENS[preset], preset, index, (size, size, size), seed)
    volumes = {**phantom.images, "labels": phantom.labels, "brain_mask": phantom.brain_mask.astype(np.uint8)}
    with atomic_folder(case.labels.parent) as part:
        for name, volume in volumes.items():
            nib.save(nib.Nifti1Image(volume, phantom.affine), part / f"{name}.nii.gz")
        truth = nib.Nifti1Image(phantom.truth, phantom.affine)
        nib.save(truth, part / "complete_truth.nii.gz")
