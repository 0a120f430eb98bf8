"""A subject: a smooth random deformation of the atlas with its own ventricles, atrophy and cortex."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from .atlas import Atlas

FloatArray = np.ndarray

TISSUES = ("csf", "gm", "wm")


@dataclass(frozen=True)
class Subject:
    """Tissue fractions of one subject on its own grid.

    Attributes
    ----------
    fractions
        (3, X, Y, Z) float32: CSF, GM, WM; they sum to `brain`.
    brain
        (X, Y, Z) float32 in [0, 1].
    ventricle_distance_mm
        (X, Y, Z) float32, negative inside the ventricles.
    midline_distance_mm
        (X, Y, Z) float32, distance from the plane between the hemispheres.
    affine
        (4, 4) voxel to world (mm), RAS.
    spacing_mm
        (3,) voxel size.
    """

    fractions: FloatArray
    brain: FloatArray
    ventricle_distance_mm: FloatArray
    midline_distance_mm: FloatArray
    affine: FloatArray
    spacing_mm: tuple[float, float, float]


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], scale_mm: float, spacing_mm: tuple[float, ...]
) -> FloatArray:
    """Draw a Gaussian random field with zero mean, unit variance and the given correlation length.

    The field is drawn on a coarse grid and interpolated, so its cost hardly depends on the length.
    """
    steps = [max(int(scale_mm / (1.5 * s)), 1) for s in spacing_mm]
    coarse = rng.standard_normal([n // step + 8 for n, step in zip(shape, steps, strict=True)], dtype=np.float32)
    sigma = [scale_mm / (s * step) for s, step in zip(spacing_mm, steps, strict=True)]
    coarse = ndimage.gaussian_filter(coarse, sigma, mode="wrap")
    coarse /= coarse.std()
    for axis, (n, step) in enumerate(zip(shape, steps, strict=True)):
        if step > 1:
            coarse = _interpolate_axis(coarse, np.arange(n) / step + 2, axis)
        else:
            coarse = np.take(coarse, np.arange(n) + 2, axis=axis)
    return coarse


def _interpolate_axis(values: FloatArray, positions: FloatArray, axis: int) -> FloatArray:
    """Linear interpolation along one axis at fractional positions."""
    low = np.floor(positions).astype(int)
    weight = (positions - low).astype(np.float32)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis) * weight


def random_displacement(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    scale_mm: float,
    amplitude_mm: float,
) -> FloatArray:
    """Draw a diffeomorphic displacement field, (3, X, Y, Z) in mm, float32.

    A stationary velocity field is integrated by scaling and squaring (Arsigny et al. 2006), which keeps the
    mapping free of folds.
    """
    velocity = np.stack([amplitude_mm * smooth_noise(rng, shape, scale_mm, spacing_mm) for _ in range(3)])
    n_squarings = 5
    displacement = velocity / 2**n_squarings
    grid = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"))
    size = np.asarray(spacing_mm, dtype=np.float32).reshape(3, 1, 1, 1)
    for _ in range(n_squarings):
        at = grid + displacement / size
        displacement = displacement + np.stack(
            [ndimage.map_coordinates(d, at, order=1, mode="nearest") for d in displacement]
        )
    return displacement


def draw_subject(rng: np.random.Generator, atlas: Atlas, spacing_mm: tuple[float, float, float]) -> Subject:
    """Draw a subject.

    Parameters
    ----------
    rng
        Source of all randomness.
    atlas
        See `load_atlas`.
    spacing_mm
        Voxel size of the subject's grid.
    """
    low, high = atlas.bounds_mm
    margin_mm = 20.0
    low, high = low - margin_mm, high + margin_mm
    shape = tuple(int(np.ceil(extent / s)) for extent, s in zip(high - low, spacing_mm, strict=True))
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = low

    # deform on a 4 mm grid: the fields are far smoother than that
    coarse_mm = (4.0, 4.0, 4.0)
    coarse_shape = tuple(int(np.ceil(extent / 4)) + 2 for extent in high - low)
    field = random_displacement(rng, coarse_shape, coarse_mm, scale_mm=30, amplitude_mm=5.0)
    field = field + random_displacement(rng, coarse_shape, coarse_mm, scale_mm=12, amplitude_mm=2.0)

    angles = rng.normal(0, 0.04, 3)
    # the averaged atlas is larger than most heads; the mapping goes from subject to atlas, so > 1 shrinks
    scale = np.exp(0.04 + rng.normal(0, 0.03) + rng.normal(0, 0.025, 3))
    linear = _rotation(angles) @ np.diag(scale)
    shift_mm = rng.normal(0, 2, 3)

    axes = [low[a] + spacing_mm[a] * np.arange(shape[a]) for a in range(3)]
    world = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    for a in range(3):
        component = field[a]
        for axis in range(3):
            component = _interpolate_axis(component, spacing_mm[axis] * np.arange(shape[axis]) / 4, axis)
        world[a] += component
    world = np.einsum("ij,jxyz->ixyz", linear, world) + shift_mm.reshape(3, 1, 1, 1)
    inverse = np.linalg.inv(atlas.affine)
    voxel = np.einsum("ij,jxyz->ixyz", inverse[:3, :3], world) + inverse[:3, 3].reshape(3, 1, 1, 1)
    voxel = voxel.astype(np.float32)

    def sample(volume: FloatArray, mode: str = "constant") -> FloatArray:
        return ndimage.map_coordinates(volume, voxel, order=1, mode=mode)

    brain = sample(atlas.brain)
    fractions = np.stack([sample(atlas.csf), sample(atlas.gm), sample(atlas.wm)])
    distance = sample(atlas.ventricle_distance_mm, "nearest")

    # ventricles grow or shrink by moving their surface; atrophy gives the sulci to CSF;
    # fine noise moves the borders of the cortex, which the averaged atlas has blurred
    growth_mm = rng.normal(1.0, 1.0)
    inside = special.expit((growth_mm - distance) / 0.7)
    fractions[0] = np.maximum(fractions[0], inside * brain)
    fractions[1:] *= 1 - inside
    distance = distance - growth_mm
    atrophy = rng.normal(0.55, 0.2)
    tilt = [
        atrophy + 0.45 * smooth_noise(rng, shape, 3.0, spacing_mm),
        0.0,
        0.1 + 0.2 * smooth_noise(rng, shape, 4.0, spacing_mm),
    ]
    fractions = np.stack([np.maximum(f, 0) ** 1.8 * np.exp(t) for f, t in zip(fractions, tilt, strict=True)])
    total = fractions.sum(0)
    fractions *= np.where(total > 0, brain / np.maximum(total, 1e-6), 0)
    return Subject(
        fractions.astype(np.float32), brain, distance, np.abs(world[0]).astype(np.float32), affine, spacing_mm
    )


def _rotation(angles: FloatArray) -> FloatArray:
    """Rotation matrix from three angles in radians about x, y, z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
