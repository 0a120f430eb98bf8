"""A subject: a smooth random deformation of the atlas with its own ventricles, atrophy and cortical folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from .atlas import Atlas
from .fields import FloatArray, Spacing, column, interpolate, random_displacement, smooth_noise

COARSE_MM = 4.0
"""Grid of the displacement field, which is far smoother than that."""

DEFORMATION = ((40.0, 2.2), (14.0, 1.3))
"""Parts of the velocity field: (correlation length, amplitude), both in mm."""


@dataclass(frozen=True)
class Subject:
    """Tissue fractions of one subject on its own grid."""

    fractions: FloatArray
    """(3, X, Y, Z) float32: CSF, GM, WM; they sum to `brain`."""
    brain: FloatArray
    """(X, Y, Z) float32 in [0, 1]."""
    ventricle_distance_mm: FloatArray
    """(X, Y, Z) float32, negative inside the ventricles."""
    midline_distance_mm: FloatArray
    """(X, Y, Z) float32, distance from the plane between the hemispheres."""
    hindbrain: FloatArray
    """(X, Y, Z) float32 in [0, 1]: cerebellum and brain stem, roughly."""
    affine: FloatArray
    """(4, 4) voxel to world (mm), RAS."""
    spacing_mm: Spacing
    """(3,) voxel size."""


@dataclass(frozen=True)
class MassEffect:
    """Tissue pushed away from a point, as by a growing tumour.

    What lies at distance r from the centre came from r (1 - strength exp(-(r / radius_mm)^2)), which grows with r
    for every strength below 1: nothing folds.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    strength: float

    def origin(self, world: FloatArray) -> FloatArray:
        """Return where the tissue at world positions (3, ...) in mm came from."""
        offset = world - np.array(self.centre_mm, dtype=np.float32).reshape(3, *[1] * (world.ndim - 1))
        squared = (offset**2).sum(0)
        return world - self.strength * np.exp(-squared / self.radius_mm**2) * offset


@dataclass(frozen=True)
class Geometry:
    """Where each point of a subject lies in the atlas."""

    field: FloatArray
    """(3, X, Y, Z) displacement in mm on a grid of `COARSE_MM` that starts at `low_mm`."""
    low_mm: FloatArray
    high_mm: FloatArray
    """(3,) corners of the subject's field of view."""
    linear: FloatArray
    shift_mm: FloatArray
    """(3, 3) and (3,): applied after the displacement."""
    mass: MassEffect | None = None
    """Tissue pushed away by a tumour, or None."""

    def to_atlas(self, world: FloatArray) -> FloatArray:
        """Map world positions of the subject, (3, X, Y, Z) in mm, to world positions in the atlas."""
        if self.mass is not None:
            world = self.mass.origin(world)
        at = (world - column(self.low_mm)) / COARSE_MM
        moved = world + interpolate(self.field, at, "border")
        return np.einsum("ij,jxyz->ixyz", np.float32(self.linear), moved) + column(self.shift_mm)


def draw_geometry(rng: np.random.Generator, atlas: Atlas) -> Geometry:
    """Draw the deformation of a subject."""
    margin_mm = 16.0
    low, high = atlas.bounds_mm
    low, high = low - margin_mm, high + margin_mm
    shape = tuple(int(np.ceil(extent / COARSE_MM)) + 2 for extent in high - low)
    field = random_displacement(rng, shape, (COARSE_MM,) * 3, DEFORMATION)
    # the averaged atlas is larger than most heads; the mapping goes from subject to atlas, so > 1 shrinks
    scale = np.exp(0.085 + rng.normal(0, 0.025) + rng.normal(0, 0.015, 3))
    linear = _rotation(rng.normal(0, 0.04, 3)) @ np.diag(scale)
    return Geometry(field, low, high, linear, rng.normal(0, 2, 3))


def world_grid(geometry: Geometry, spacing_mm: Spacing) -> tuple[FloatArray, FloatArray]:
    """Return the world positions (3, X, Y, Z) float32 of a grid over the field of view, and its affine (4, 4)."""
    extent = geometry.high_mm - geometry.low_mm
    axes = [
        low + s * np.arange(int(np.ceil(e / s)), dtype=np.float32)
        for low, e, s in zip(geometry.low_mm, extent, spacing_mm, strict=True)
    ]
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = geometry.low_mm
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32), affine


def draw_subject(rng: np.random.Generator, atlas: Atlas, geometry: Geometry, spacing_mm: Spacing) -> Subject:
    """Draw the tissues of a subject on a grid of voxels of `spacing_mm`; `rng` is for all that its geometry is not."""
    world, affine = world_grid(geometry, spacing_mm)
    world = geometry.to_atlas(world)
    csf, gm, wm, distance = atlas.sample(world)
    brain = csf + gm + wm
    shape = brain.shape

    # ventricles grow or shrink by moving their surface
    growth_mm = np.float32(rng.normal(0.8, 1.0))
    inside = special.expit((growth_mm - distance) / np.float32(0.7))
    distance = distance - growth_mm

    # The averaged atlas has blurred the cortical folds. The zero level of a random field gives sulci as thin sheets;
    # the cortex lines them, and gyri keep white matter in their middle. Where the atlas is sure, nothing changes.
    side = np.abs(smooth_noise(rng, shape, float(rng.uniform(2.2, 3.0)), spacing_mm))
    atrophy = np.float32(rng.normal(0.55, 0.2))
    not_deep = 1 - np.exp(-((np.maximum(distance, 0) / 8.0) ** 2))
    tilts = (atrophy + 2.6 * np.exp(-((side / 0.4) ** 2)), np.float32(0.0), 0.25 + 1.2 * (np.minimum(side, 1.5) - 0.8))
    # thalamus and pallidum stay the mixtures of grey and white that they are
    sharpness = 1 + 1.5 * not_deep
    fractions = np.empty((3, *shape), np.float32)
    for k, (p, tilt) in enumerate(zip((csf, gm, wm), tilts, strict=True)):
        fractions[k] = ((p + 0.01 * brain) * np.exp(not_deep * tilt)) ** sharpness
    fractions *= np.where(brain > 0, brain / np.maximum(fractions.sum(0), 1e-12), 0)
    fractions *= 1 - inside
    fractions[0] += inside * brain
    return Subject(fractions, brain, distance, np.abs(world[0]), _hindbrain(world), affine, spacing_mm)


def _hindbrain(world: FloatArray) -> FloatArray:
    """Cerebellum and brain stem in atlas coordinates (3, X, Y, Z), by planes under the tentorium: soft, 0 to 1."""
    x, y, z = np.abs(world[0]), world[1], world[2]
    tentorium = 2 - 0.6 * np.minimum(x, 50) - 0.3 * np.maximum(-60 - y, 0)
    cerebellum = (z < tentorium) & (y < -38) & (y > -110)
    stem = (x < 17) & (y > -50) & (y < -12) & (z < -14)
    return (cerebellum | stem).astype(np.float32)


def _rotation(angles: FloatArray) -> FloatArray:
    """Rotation matrix from three angles in radians about x, y, z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
