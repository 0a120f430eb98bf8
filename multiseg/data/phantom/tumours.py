"""Tumours of the phantoms: a core that grew from a seed and pushed tissue away, in a bed of oedema."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from .anatomy import Geometry, MassEffect, Subject, world_grid
from .atlas import Atlas
from .fields import interpolate, smooth_noise

FloatArray = np.ndarray

GROWTH_MM = 3.0
"""Grid on which a tumour grows."""

SPREAD = {"csf": 0.0, "gm": 0.12, "wm": 1.0}
"""Diffusion of tumour cells relative to white matter: five to ten times slower in grey (Swanson et al. 2000)."""


@dataclass(frozen=True)
class Tumour:
    """Soft maps on a subject's grid, (X, Y, Z) float32 in [0, 1].

    Attributes
    ----------
    core
        The tumour.
    rim
        The part of the core that enhances on T1c.
    oedema
        Swelling around the core.
    drawn_core, drawn_oedema
        (X, Y, Z) bool: tumour and, outside it, oedema as a rater draws them.
    """

    core: FloatArray
    rim: FloatArray
    oedema: FloatArray
    drawn_core: np.ndarray
    drawn_oedema: np.ndarray


RATER = 0.8
"""How far raters stray from the middle of an edge, in units of its width."""


def draw_mass(rng: np.random.Generator, atlas: Atlas, geometry: Geometry) -> MassEffect:
    """Choose where a tumour starts, in deep white matter off the midline, and how far it pushes.

    The core's radius is log-normal about 14 mm (about 11 ml).
    """
    world, _ = world_grid(geometry, (GROWTH_MM,) * 3)
    csf, gm, wm, distance = atlas.sample(geometry.to_atlas(world))
    within = ndimage.gaussian_filter(csf + gm + wm, 10.0 / GROWTH_MM)  # low near the surface
    chance = np.clip(wm - 0.4, 0, None) * (within > 0.85) * (distance > 5) * (np.abs(world[0]) > 12) * (world[2] > -10)
    at = rng.choice(chance.size, p=(chance / chance.sum()).ravel())
    centre = world.reshape(3, -1)[:, at]
    radius_mm = float(np.clip(np.exp(rng.normal(np.log(14), 0.25)), 8, 24))
    return MassEffect((float(centre[0]), float(centre[1]), float(centre[2])), 1.3 * radius_mm, rng.uniform(0.3, 0.6))


def draw_tumour(rng: np.random.Generator, subject: Subject, mass: MassEffect) -> Tumour:
    """Grow a tumour from its seed in a subject whose tissue has been pushed away already.

    Cell density u follows du/dt = div(D grad u) + rho u (1 - u), with a diffusion D that depends on the tissue
    (`SPREAD`), so that tumours follow white matter (Swanson et al. 2000). Growth stops when the core, u > 0.5, has its
    volume; oedema is the part of white matter, and less of grey matter, that lower densities have reached.
    """
    core_ml = 4 / 3 * np.pi * (mass.radius_mm / 1.3 / 10) ** 3
    spacing_mm = subject.spacing_mm
    density = _grow(subject, mass, core_ml)
    noise = smooth_noise(rng, density.shape, 4.0, spacing_mm)
    brain = subject.brain > 0.5
    csf, gm, _ = subject.fractions / np.maximum(subject.brain, 1e-3)
    ventricle = special.expit(-subject.ventricle_distance_mm / 0.7)
    core_score = density + 0.06 * noise - ventricle
    soft = float(rng.uniform(0.06, 0.15))
    core = _threshold(core_score, core_ml, spacing_mm, brain, soft)
    judged = core_score + RATER * soft * smooth_noise(rng, density.shape, 5.0, spacing_mm)
    drawn_core = _threshold(judged, core_ml, spacing_mm, brain, soft) > 0.5
    # oedema spreads through white matter further than cells do
    reach = ndimage.gaussian_filter(density, [float(rng.uniform(4, 7)) / s for s in spacing_mm])
    patches = smooth_noise(rng, density.shape, 6.0, spacing_mm)
    # without a cost of the distance, what nearby white matter cannot hold would dot the other hemisphere
    away_mm = ndimage.distance_transform_edt(core <= 0.5, sampling=spacing_mm)
    oedema_score = reach - 0.25 * gm - 0.6 * csf - ventricle + 0.03 * patches + core - 0.01 * away_mm
    soft, whole_ml = float(rng.uniform(0.03, 0.08)), core_ml * (1 + float(rng.uniform(1.0, 3.0)))
    oedema = _threshold(oedema_score, whole_ml, spacing_mm, brain, soft)
    judged = oedema_score + RATER * soft * smooth_noise(rng, density.shape, 5.0, spacing_mm)
    drawn_whole = _threshold(judged, whole_ml, spacing_mm, brain, soft) > 0.5
    # necrosis in the middle of larger cores
    depth_mm = ndimage.distance_transform_edt(core > 0.5, sampling=spacing_mm)
    rim = core * special.expit((rng.uniform(3, 6) - depth_mm + noise) / 0.7)
    # parts of the rim do not enhance: there the tumour looks like its bed
    rim *= special.expit((1.0 + smooth_noise(rng, density.shape, 8.0, spacing_mm)) / 0.3)
    return Tumour(
        core, rim.astype(np.float32), np.maximum(oedema - core, 0), drawn_core, drawn_whole & ~drawn_core
    )  # fmt: skip


def _grow(subject: Subject, mass: MassEffect, core_ml: float) -> FloatArray:
    """Return the density of tumour cells, (X, Y, Z) in [0, 1], on the subject's grid."""
    spacing_mm = np.array(subject.spacing_mm)
    shape = tuple(int(n) for n in np.ceil(np.array(subject.brain.shape) * spacing_mm / GROWTH_MM))
    coarse = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij")) * GROWTH_MM
    size = np.float32(spacing_mm).reshape(3, 1, 1, 1)
    csf, gm, wm = interpolate(subject.fractions, coarse / size)
    diffusion = SPREAD["csf"] * csf + SPREAD["gm"] * gm + SPREAD["wm"] * wm
    tissue = np.minimum(1.5 * (gm + wm), 1)
    start = (np.array(mass.centre_mm) - subject.affine[:3, 3]) / GROWTH_MM
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    density = np.exp(-((index - start.reshape(3, 1, 1, 1)) ** 2).sum(0) / 2).astype(np.float32)
    target = core_ml * 1000 / GROWTH_MM**3
    faces = [(diffusion + np.roll(diffusion, -1, axis)) / 2 for axis in range(3)]
    for _ in range(400):
        change = 0.4 * density * (1 - density) * tissue
        for axis, face in enumerate(faces):
            flow = 0.15 * face * (np.roll(density, -1, axis) - density)
            change += flow - np.roll(flow, 1, axis)
        density = np.clip(density + change, 0, 1)
        if (density > 0.5).sum() >= target:
            break
    to_coarse = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in subject.brain.shape], indexing="ij")) * (
        size / GROWTH_MM
    )
    return interpolate(density[None], to_coarse)[0]


def _threshold(
    score: FloatArray, ml: float, spacing_mm: tuple[float, ...], inside: np.ndarray, width: float
) -> FloatArray:
    """Turn a score into a soft map whose part above 0.5 has a given volume."""
    score = np.where(inside, score, -10)
    n_voxels = max(int(ml * 1000 / np.prod(spacing_mm)), 1)
    threshold = np.partition(score.ravel(), -n_voxels)[-n_voxels]
    return special.expit((score - threshold) / width).astype(np.float32)
