"""Phantom cases as files: the same NIfTI that a real cohort would deliver, written when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from multiseg_core.errors import UserError, suggest

from ...base.files import atomic_folder
from ...base.fingerprints import code_fingerprint, fingerprint
from ...settings.params import CohortParams
from ..cohorts import Case
from ..sources.found import Found
from . import abdomen, presets

PRESETS: Mapping[str, presets.Preset | abdomen.Abdomen] = {**presets.PRESETS, **abdomen.ABDOMENS}
"""All cohorts that can be imitated, by name: heads, and abdomens."""

HEAD_MM = (136.0, 171.0, 150.0)
"""Extent of the brain of the average phantom, from left to right, back to front and foot to head."""


def find(cohort: str, params: CohortParams, work: Path) -> Found:
    """Return what a phantom cohort holds, see `phantom_cases`. Raises `UserError` for an unknown preset."""
    name = params.preset or cohort
    if name not in PRESETS:
        raise UserError(f"cohorts.{cohort}.preset: no phantom imitates '{name}'{suggest(name, PRESETS)}")
    preset = PRESETS[name]
    cases = phantom_cases(cohort, params, work, cohort)
    complete_codes = preset.complete_codes if params.codes is None else None
    return Found(cases, preset.modalities, preset.codes, preset.absent, complete_codes)


def phantom_cases(cohort: str, params: CohortParams, work: Path, prefix: str) -> tuple[Case, ...]:
    """List the cases of a phantom cohort, whose files `ensure_files` makes below `work`.

    Names of cases are `prefix` and a number.
    """
    preset, seed = params.preset or cohort, params.seed
    made_by = {
        "preset": preset,
        "voxel_mm": params.voxel_mm,
        "seed": seed,
        "look": fingerprint(asdict(PRESETS[preset])),
        "code": code_fingerprint("multiseg.data.phantom"),
    }
    folder = work / f"{cohort}-{fingerprint(made_by)}"
    cases = []
    for index in range(params.cases or PRESETS[preset].cases):
        name = f"{prefix}_{index + 1:02d}"
        files = (*PRESETS[preset].modalities, "labels", "brain_mask")
        paths = {role: folder / name / f"{role}.nii.gz" for role in files}
        paths["complete_labels"] = folder / name / "complete_truth.nii.gz"
        own = f"{preset}-{seed}-{index + 1:02d}"
        subject = presets.subject_name(preset, index, seed) if preset in presets.PRESETS else own
        cases.append(Case.of(cohort, name, paths, made_by={**made_by, "index": index}, subject=subject))
    return tuple(cases)


def ensure_files(case: Case) -> None:
    """Write the files of a generated case unless they are there. Other cases are left alone."""
    if case.made_by is None or case.labels is None or case.labels.exists():
        return
    how: Mapping[str, Any] = case.made_by
    make = presets.make_case if how["preset"] in presets.PRESETS else abdomen.make_case
    size = float(how["voxel_mm"])
    phantom = make(how["preset"], how["index"], (size, size, size), how["seed"])
    volumes = {
        **phantom.images,
        "labels": phantom.labels,
        "brain_mask": phantom.brain_mask.astype(np.uint8),
        "complete_truth": phantom.truth,
    }
    with atomic_folder(case.labels.parent) as part:
        for name, volume in volumes.items():
            nib.save(nib.Nifti1Image(volume, phantom.affine), part / f"{name}.nii.gz")
