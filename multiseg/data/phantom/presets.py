"""The imitated cohorts, and how one case of them is made.

Each preset imitates one cohort of the thesis: its number of cases, modalities, pathology, the labels that it draws and
how, and what its images look like.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from scipy import ndimage

from ...base.files import yaml_beside
from .anatomy import Subject, draw_geometry, draw_subject
from .atlas import load_atlas
from .fields import FloatArray, Spacing, interpolate_axis
from .lesions import draw_wmh
from .protocols import CODES, OTHER, Protocol, complete_truth
from .scanner import Scanner
from .tumours import draw_mass, draw_tumour


@dataclass(frozen=True)
class Preset:
    """One imitated cohort."""

    scanner: Scanner
    """Its images."""
    protocol: Protocol
    """Its labels."""
    cases: int
    """Number of cases in the thesis."""
    pathology: str = "none"
    """``none``, ``wmh``, ``tumour`` or ``wmh+tumour``."""
    subjects_of: str | None = None
    """The preset whose subjects it scans; its own by default."""
    first_subject: int = 0
    subjects: int | None = None
    """Which of them: case k is of subject first_subject + k % subjects; of as many as cases by default."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Its images."""
        return self.scanner.modalities

    @property
    def absent(self) -> tuple[str, ...]:
        """Labels that its subjects do not have."""
        kinds = {"wmh": "wmh", "oedema": "tumour", "tumour": "tumour"}
        return tuple(label for label, pathology in kinds.items() if pathology not in self.pathology)

    @property
    def codes(self) -> dict[int, str]:
        """Native code -> what it means."""
        other = {OTHER: "ignore"} if self.protocol.hindbrain == "other" else {}
        return {**{CODES[label]: label for label in self.protocol.annotates}, **other}

    @property
    def complete_codes(self) -> dict[int, str]:
        """Native code -> what it means in the complete truth."""
        return {code: label for label, code in CODES.items()}


PHANTOMS: Mapping[str, Mapping[str, Any]] = yaml_beside(__file__, "cohorts.yaml")
"""``brains``, ``organs`` and ``abdomens`` -> name -> values."""

PRESETS: Mapping[str, Preset] = TypeAdapter(dict[str, Preset]).validate_python(PHANTOMS["brains"])
"""The brains that can be imitated, by the name of the cohort."""


@dataclass(frozen=True)
class PhantomCase:
    """One phantom: images by modality, labels as its cohort draws them, the complete truth, all on one grid."""

    images: Mapping[str, np.ndarray]
    labels: np.ndarray
    truth: np.ndarray
    brain_mask: np.ndarray
    affine: np.ndarray


def make_case(preset_name: str, index: int, spacing_mm: Spacing, seed: int = 0) -> PhantomCase:
    """Make case number `index` of a phantom cohort. Equal arguments give equal cases.

    Parameters
    ----------
    preset_name
        A key of `PRESETS`.
    index
        Case number from 0.
    spacing_mm
        Voxel size; slices are as thick as the cohort's if those are thicker.
    seed
        Seed of the cohort.

    Returns
    -------
    PhantomCase
        Images are float32 and 0 outside the brain; labels and truth are uint8 with `CODES`.
    """
    preset = PRESETS[preset_name]
    subject, seen, judged, rng = draw_anatomy(preset_name, index, spacing_mm, seed)
    thickness = preset.scanner.slice_mm
    shown = {name: averaged(amount, subject.spacing_mm, thickness) for name, amount in seen.items()}
    drawn = {label: averaged(amount, subject.spacing_mm, thickness) for label, amount in judged.items()}
    subject = in_slices(subject, thickness)
    images = {m: preset.scanner.image(rng, subject, shown, m) for m in preset.modalities}
    labels, truth = preset.protocol.draw(subject, drawn), complete_truth(subject, drawn)
    return PhantomCase(images, labels, truth, subject.brain > 0.5, subject.affine)


def _person(preset: Preset, index: int) -> int:
    return preset.first_subject + (index if preset.subjects is None else index % preset.subjects)


def subject_name(preset_name: str, index: int, seed: int) -> str:
    """Return who a case shows: equal names are one head, whatever the cohort, scanner and voxels."""
    preset = PRESETS[preset_name]
    return f"{preset.subjects_of or preset_name}-{seed}-{_person(preset, index) + 1:02d}"


def draw_anatomy(
    preset_name: str, index: int, spacing_mm: Spacing, seed: int = 0
) -> tuple[Subject, dict[str, FloatArray], dict[str, FloatArray], np.random.Generator]:
    """Draw what lies under a case, see `make_case`, before its slices are averaged.

    Returns
    -------
    subject, shown, drawn, rng
        Its tissues; maps (X, Y, Z) float32 of its pathology in images, and by label as raters draw it; and the random
        numbers that are left for the images.
    """
    preset = PRESETS[preset_name]
    atlas = load_atlas()

    def generator(owner: str, *number: int) -> np.random.Generator:
        return np.random.default_rng([seed, zlib.crc32(owner.encode()), *number])

    # the same head for all cases of a subject, whatever grows in it
    body = generator(preset.subjects_of or preset_name, _person(preset, index))
    rng = generator(preset_name, index, 1)
    geometry = draw_geometry(body, atlas)
    shown: dict[str, FloatArray] = {}
    drawn: dict[str, FloatArray] = {}
    mass = draw_mass(rng, atlas, geometry) if "tumour" in preset.pathology else None
    subject = draw_subject(body, atlas, replace(geometry, mass=mass), spacing_mm)
    if mass is not None:
        shown, drawn = draw_tumour(rng, subject, mass)
    if "wmh" in preset.pathology:  # below the tumour, which comes later
        wmh, drawn_wmh = draw_wmh(rng, subject, varied=preset.scanner.any_contrast)
        shown, drawn = {"wmh": wmh, **shown}, {"wmh": drawn_wmh, **drawn}
    return subject, shown, {label: amount.astype(np.float32) for label, amount in drawn.items()}, rng


def averaged(volume: FloatArray, spacing_mm: Spacing, slice_mm: float) -> FloatArray:
    """Average a volume (..., Z) over slices of some thickness, unless its own are as thick."""
    height = spacing_mm[2]
    if slice_mm <= height:
        return volume
    n_slices = int(volume.shape[-1] * height / slice_mm)
    centres = ((np.arange(n_slices) + 0.5) * slice_mm) / height - 0.5
    smooth = ndimage.gaussian_filter1d(volume, 0.3 * slice_mm / height, axis=-1)
    return interpolate_axis(smooth, centres, volume.ndim - 1)


def in_slices(subject: Subject, slice_mm: float) -> Subject:
    """Average a subject over slices of some thickness, unless its own are as thick."""
    *plane, height = subject.spacing_mm
    if slice_mm <= height:
        return subject
    names = ("fractions", "brain", "ventricle_distance_mm", "midline_distance_mm", "hindbrain")
    volumes = {name: averaged(getattr(subject, name), subject.spacing_mm, slice_mm) for name in names}
    affine = subject.affine.copy()
    affine[2, 2], affine[2, 3] = slice_mm, affine[2, 3] + (slice_mm - height) / 2
    return Subject(**volumes, affine=affine, spacing_mm=(plane[0], plane[1], slice_mm))
