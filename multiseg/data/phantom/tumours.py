"""Tumours of the phantoms: a core that grew from a seed and pushed tissue away, in a bed of oedema."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from .anatomy import Geometry, MassEffect, Subject, world_grid
from .atlas import Atlas
from .fields import FloatArray, column, interpolate, limit_above, smooth_noise, voxel_positions

GROWTH_MM = 3.0
"""Grid on which a tumour grows."""

SPREAD = {"csf": 0.0, "gm": 0.12, "wm": 1.0}
"""Diffusion of tumour cells relative to white matter: five to ten times slower in grey (Swanson et al. 2000)."""

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


def draw_tumour(
    rng: np.random.Generator, subject: Subject, mass: MassEffect
) -> tuple[dict[str, FloatArray], dict[str, np.ndarray]]:
    """Grow a tumour from its seed in a subject whose tissue has been pushed away already.

    Returns soft maps (X, Y, Z) float32 in [0, 1] of what images show: the ``oedema`` around the ``core``, and the
    ``rim`` of that, which enhances on T1c; and maps (X, Y, Z) bool of ``tumour`` and, outside it, ``oedema`` as a rater
    draws them.

    Cell density u follows du/dt = div(D grad u) + rho u (1 - u), with a diffusion D that depends on the tissue
    (`SPREAD`), so that tumours follow white matter (Swanson et al. 2000). Growth stops when the core, u > 0.5, has its
    volume; oedema is the part of white matter, and less of grey matter, that lower densities have reached.
    """
    core_ml = 4 / 3 * np.pi * (mass.radius_mm / 1.3 / 10) ** 3
    spacing_mm = subject.spacing_mm
    density = _grow(subject, mass, core_ml)
    brain = subject.brain > 0.5

    def noise_of(scale_mm: float) -> FloatArray:
        return smooth_noise(rng, density.shape, scale_mm, spacing_mm)

    def shown_and_drawn(score: FloatArray, ml: float, width: float) -> tuple[FloatArray, np.ndarray]:
        """Turn a score into a soft map whose part above 0.5 has a given volume, and what a rater draws of it."""
        scores = (np.where(brain, s, -10) for s in (score, score + RATER * width * noise_of(5.0)))
        shown, drawn = (special.expit((s - limit_above(s, ml, spacing_mm)) / width).astype(np.float32) for s in scores)
        return shown, drawn > 0.5

    noise = noise_of(4.0)
    csf, gm, _ = subject.fractions / np.maximum(subject.brain, 1e-3)
    ventricle = special.expit(-subject.ventricle_distance_mm / 0.7)
    core, drawn_core = shown_and_drawn(density + 0.06 * noise - ventricle, core_ml, float(rng.uniform(0.06, 0.15)))
    # oedema spreads through white matter further than cells do
    reach = ndimage.gaussian_filter(density, [float(rng.uniform(4, 7)) / s for s in spacing_mm])
    patches = noise_of(6.0)
    # without a cost of the distance, what nearby white matter cannot hold would dot the other hemisphere
    away_mm = ndimage.distance_transform_edt(core <= 0.5, sampling=spacing_mm)
    oedema_score = reach - 0.25 * gm - 0.6 * csf - ventricle + 0.03 * patches + core - 0.01 * away_mm
    width, whole_ml = float(rng.uniform(0.03, 0.08)), core_ml * (1 + float(rng.uniform(1.0, 3.0)))
    oedema, drawn_whole = shown_and_drawn(oedema_score, whole_ml, width)
    # necrosis in the middle of larger cores
    depth_mm = ndimage.distance_transform_edt(core > 0.5, sampling=spacing_mm)
    rim = core * special.expit((rng.uniform(3, 6) - depth_mm + noise) / 0.7)
    # parts of the rim do not enhance: there the tumour looks like its bed
    rim *= special.expit((1.0 + noise_of(8.0)) / 0.3)
    shown = {"oedema": np.maximum(oedema - core, 0), "core": core, "rim": rim.astype(np.float32)}
    return shown, {"oedema": drawn_whole & ~drawn_core, "tumour": drawn_core}


def _grow(subject: Subject, mass: MassEffect, core_ml: float) -> FloatArray:
    """Return the density of tumour cells, (X, Y, Z) in [0, 1], on the subject's grid."""
    spacing_mm = np.array(subject.spacing_mm)
    shape = tuple(int(n) for n in np.ceil(np.array(subject.brain.shape) * spacing_mm / GROWTH_MM))
    size = column(spacing_mm)
    csf, gm, wm = interpolate(subject.fractions, voxel_positions(shape) * GROWTH_MM / size)
    diffusion = SPREAD["csf"] * csf + SPREAD["gm"] * gm + SPREAD["wm"] * wm
    tissue = np.minimum(1.5 * (gm + wm), 1)
    start = (np.array(mass.centre_mm) - subject.affine[:3, 3]) / GROWTH_MM
    density = np.exp(-((np.indices(shape) - column(start, np.float64)) ** 2).sum(0) / 2).astype(np.float32)
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
    return interpolate(density[None], voxel_positions(subject.brain.shape) * (size / GROWTH_MM))[0]
