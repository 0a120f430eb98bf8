"""Cases and subjects of the phantoms on coarse grids, each made once per session."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from multiseg.data.phantom.anatomy import Subject
from multiseg.data.phantom.presets import PhantomCase, draw_anatomy, make_case

MM = 3.0
ML = MM**3 / 1000
"""Volume of a voxel of the shared cases."""


@functools.cache
def case(preset: str, index: int = 0) -> PhantomCase:
    """A phantom at 3 mm."""
    return make_case(preset, index, (MM,) * 3)


@functools.cache
def anatomy(preset: str, index: int = 0) -> tuple[Subject, Mapping[str, np.ndarray]]:
    """What lies under `case`: the subject, and what images show of its pathology."""
    subject, shown, _, _ = draw_anatomy(preset, index, (MM,) * 3)
    return subject, shown


@functools.cache
def drawn(preset: str, index: int = 0) -> Mapping[str, np.ndarray]:
    """What raters draw of the pathology of `case`, by label, before slices are averaged."""
    return {label: amount > 0.5 for label, amount in draw_anatomy(preset, index, (MM,) * 3)[2].items()}


def small_subject(
    fractions: np.ndarray, hindbrain: np.ndarray | None = None, ventricle_distance_mm: np.ndarray | None = None
) -> Subject:
    """A subject from tissue fractions (3, X, Y, Z), 1 mm voxels at the origin."""
    brain = np.asarray(fractions, np.float32).sum(0)
    zero = np.zeros_like(brain)
    return Subject(
        np.asarray(fractions, np.float32), brain, zero if ventricle_distance_mm is None else ventricle_distance_mm,
        zero, zero if hindbrain is None else hindbrain, np.eye(4), (1.0, 1.0, 1.0),
    )  # fmt: skip


def world(subject: Subject) -> np.ndarray:
    """World positions (3, X, Y, Z) of a subject's voxels."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in subject.brain.shape], indexing="ij"))
    return np.einsum("ij,jxyz->ixyz", subject.affine[:3, :3], index) + subject.affine[:3, 3].reshape(3, 1, 1, 1)


def jacobian(mapped: np.ndarray, step_mm: float) -> np.ndarray:
    """Determinants of the Jacobian of a mapping (3, X, Y, Z) by central differences."""
    derivatives = np.stack([np.stack(np.gradient(axis, step_mm)) for axis in mapped])
    return np.linalg.det(np.moveaxis(derivatives, (0, 1), (-2, -1)))
