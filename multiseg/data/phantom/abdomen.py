"""Abdominal CT phantoms: organs of plain shapes, warped, with tumours and cysts of the kidneys.

They are made for two things: an imbalance of classes as in sets of kidney tumours, where a cyst takes one voxel in ten
thousand, and several organs of unlike size in one image. Signals are Hounsfield units of a portal venous phase.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import random_displacement, smooth_noise
from .presets import PhantomCase

FloatArray = np.ndarray

EXTENT_MM = (352.0, 248.0, 208.0)
"""What an image covers, from left to right, back to front and foot to head."""


@dataclass(frozen=True)
class Organ:
    """An ellipsoid before it is warped.

    Attributes
    ----------
    centre_mm
        Rightwards, forwards and upwards from the middle of the image.
    radii_mm
        Along the same axes; infinite for a tube.
    signal
        Mean and standard deviation over subjects (HU).
    """

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    signal: tuple[float, float]


_TUBE = float("inf")

ORGANS: Mapping[str, Organ] = {
    "spine": Organ((0, -68, 0), (20, 20, _TUBE), (230, 30)),
    "vena_cava": Organ((22, -38, 0), (12, 11, _TUBE), (115, 15)),
    "aorta": Organ((-10, -42, 0), (11, 11, _TUBE), (165, 25)),
    "liver": Organ((72, 8, 52), (74, 74, 62), (108, 12)),
    "gallbladder": Organ((52, 50, 2), (14, 14, 24), (10, 6)),
    "spleen": Organ((-104, -36, 54), (28, 40, 44), (118, 12)),
    "stomach": Organ((-50, 42, 56), (42, 34, 40), (35, 20)),
    "right_kidney": Organ((66, -46, -22), (28, 26, 52), (160, 18)),
    "left_kidney": Organ((-66, -46, -14), (28, 26, 52), (160, 18)),
}
"""What there is, in the order in which it is painted."""


@dataclass(frozen=True)
class Abdomen:
    """A cohort of such phantoms.

    Attributes
    ----------
    draws
        Structure -> native code: organs, ``tumour`` and ``cyst``; all else reads 0.
    names
        Native code -> label.
    cases
        Number of cases.
    lesions
        Whether kidneys have tumours and cysts.
    """

    draws: Mapping[str, int]
    names: Mapping[int, str]
    cases: int
    lesions: bool
    modalities: tuple[str, ...] = ("CT",)
    absent: tuple[str, ...] = ()

    @property
    def annotates(self) -> tuple[str, ...]:
        """The labels that its files show."""
        return tuple(self.names.values())

    @property
    def codes(self) -> dict[int, str]:
        """Native code -> what it means."""
        return dict(self.names)


ABDOMENS: Mapping[str, Abdomen] = {
    "kidneys": Abdomen(
        {"right_kidney": 1, "left_kidney": 1, "tumour": 2, "cyst": 3},
        {1: "kidney", 2: "tumour", 3: "cyst"}, cases=40, lesions=True,
    ),
    "organs": Abdomen(
        {"spleen": 1, "right_kidney": 2, "left_kidney": 3, "gallbladder": 4, "liver": 6, "stomach": 7, "aorta": 8},
        {1: "spleen", 2: "right_kidney", 3: "left_kidney", 4: "gallbladder", 6: "liver", 7: "stomach", 8: "aorta"},
        cases=30, lesions=False,
    ),
}  # fmt: skip
"""The cohorts by name, with the codes of KiTS23 and of BTCV."""


def make(preset: Abdomen, name: str, index: int, spacing_mm: tuple[float, float, float], seed: int) -> PhantomCase:
    """Make case number `index` of a cohort; equal arguments give equal cases.

    Parameters
    ----------
    preset, name
        The cohort.
    index
        Case number from 0.
    spacing_mm
        Voxel size.
    seed
        Seed of the cohort.

    Returns
    -------
    PhantomCase
        The image is float32 in HU; labels, which are also the truth, are uint8; the mask is the body.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), index])
    shape = tuple(round(extent / size) for extent, size in zip(EXTENT_MM, spacing_mm, strict=True))
    index_of = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"))
    size = np.array(spacing_mm, np.float32).reshape(3, 1, 1, 1)
    origin = -(np.array(shape) - 1) / 2 * np.array(spacing_mm)
    world = index_of * size + np.float32(origin).reshape(3, 1, 1, 1)
    world *= np.float32(np.exp(rng.normal(0, 0.06)))  # people differ in size
    world += random_displacement(rng, shape, spacing_mm, [(60.0, 7.0), (22.0, 2.5)])
    thickness = float(np.mean(spacing_mm))

    def amount(centre: FloatArray, radii: FloatArray) -> FloatArray:
        """Return how much of each voxel an ellipsoid fills."""
        level = np.sqrt((((world - centre.reshape(3, 1, 1, 1)) / radii.reshape(3, 1, 1, 1)) ** 2).sum(0))
        return np.clip(0.5 + (1 - level) * np.min(radii) / thickness, 0, 1).astype(np.float32)

    body = _body(world, thickness)
    signal = -1000 + body * 900
    signal = _mixed(signal, body * _wall(world, thickness), rng.normal(55, 5))
    bowel = np.clip(1.5 * smooth_noise(rng, shape, 14.0, spacing_mm) - 0.6, 0, 1)
    inside = amount(np.zeros(3), np.array([125.0, 78.0, _TUBE])) * (world[1] > -30)
    signal = _mixed(signal, bowel * inside, 30 + 25 * smooth_noise(rng, shape, 10.0, spacing_mm))
    filled: dict[str, FloatArray] = {}
    places: dict[str, tuple[FloatArray, FloatArray]] = {}
    for organ, look in ORGANS.items():
        centre = np.array(look.centre_mm) + rng.normal(0, 4, 3)
        radii = np.array(look.radii_mm) * np.exp(rng.normal(0, 0.08, 3))
        filled[organ], places[organ] = amount(centre, radii), (centre, radii)
        if organ.endswith("kidney"):  # the sinus, which is fat, opens to the middle
            middle = centre - [np.sign(centre[0]) * 17, 0, 0]
            filled[organ] *= 1 - amount(middle, np.array([15.0, 10.0, 20.0]))
        uneven = 6 * smooth_noise(rng, shape, 8.0, spacing_mm)
        signal = _mixed(signal, filled[organ], rng.normal(*look.signal) + uneven)
        for earlier in list(filled)[:-1]:
            filled[earlier] = np.minimum(filled[earlier], 1 - filled[organ])
    if preset.lesions:
        signal = _with_lesions(rng, signal, filled, places, amount, spacing_mm)
    signal = ndimage.gaussian_filter(signal, 0.4)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.6)
    signal += np.float32(rng.uniform(8, 16)) * noise / noise.std()
    labels = np.zeros(shape, np.uint8)
    for structure, code in preset.draws.items():
        if structure in filled:
            labels[filled[structure] > 0.5] = code
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = origin
    return PhantomCase({"CT": np.round(signal).astype(np.float32)}, labels, labels, body > 0.5, affine)


def _body(world: FloatArray, thickness: float, shrunk_mm: float = 0.0) -> FloatArray:
    """Return how much of each voxel lies in the trunk, or in what is left of it without its outer layer."""
    radii = 162 - shrunk_mm, 112 - shrunk_mm
    level = ((np.abs(world[0]) / radii[0]) ** 2.4 + (np.abs(world[1]) / radii[1]) ** 2.4) ** (1 / 2.4)
    return np.clip(0.5 + (1 - level) * radii[1] / thickness, 0, 1)


def _wall(world: FloatArray, thickness: float) -> FloatArray:
    """Return the muscles below the skin's fat."""
    return _body(world, thickness, 16) * (1 - _body(world, thickness, 28))


def _mixed(signal: FloatArray, amount: FloatArray, value: float | FloatArray) -> FloatArray:
    return (signal + amount * (value - signal)).astype(np.float32)


def _with_lesions(
    rng: np.random.Generator,
    signal: FloatArray,
    filled: dict[str, FloatArray],
    places: Mapping[str, tuple[FloatArray, FloatArray]],
    amount: Callable[[FloatArray, FloatArray], FloatArray],
    spacing_mm: tuple[float, float, float],
) -> FloatArray:
    """Paint a tumour that grows out of a kidney, and in half of the subjects one cyst or two; add both to `filled`.

    Radii are log-normal: of tumours about 16 mm (17 ml), of cysts about 8 mm (2 ml).
    """
    shape = signal.shape
    kidneys = ["right_kidney", "left_kidney"]

    def place(kidney: str, depth: float) -> FloatArray:
        """Choose a point of a kidney, as deep as a part of its radius, on the side away from the spine."""
        centre, radii = places[kidney]
        towards = rng.normal(size=3)
        towards[0] = np.sign(centre[0]) * abs(towards[0])
        return centre + depth * radii * towards / np.linalg.norm(towards)

    radius = float(np.clip(np.exp(rng.normal(np.log(16), 0.35)), 9, 34))
    ball = amount(place(str(rng.choice(kidneys)), 0.85), radius * np.exp(rng.normal(0, 0.15, 3)))
    for other in ("spine", "liver", "spleen", "stomach", "aorta", "vena_cava"):
        ball = ball * (1 - filled[other])
    uneven = 18 * smooth_noise(rng, shape, 7.0, spacing_mm)
    signal = _mixed(signal, ball, rng.uniform(45, 115) + uneven)
    cysts = np.zeros(shape, np.float32)
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        radius = float(np.clip(np.exp(rng.normal(np.log(8), 0.25)), 5.5, 14))
        cysts = np.maximum(cysts, amount(place(str(rng.choice(kidneys)), 0.8), np.full(3, radius)))
    cysts = cysts * (1 - ball)
    signal = _mixed(signal, cysts, rng.normal(6, 5))
    for kidney in kidneys:
        filled[kidney] = np.minimum(filled[kidney], 1 - np.maximum(ball, cysts))
    filled |= {"tumour": ball, "cyst": cysts}
    return signal
