"""Abdominal CT phantoms: organs of plain shapes, warped, with tumours and cysts of the kidneys.

They are made for two things: an imbalance of classes as in sets of kidney tumours, where a cyst takes one voxel in ten
thousand, and several organs of unlike size in one image. Signals are Hounsfield units of a portal venous phase.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter
from scipy import ndimage

from .fields import FloatArray, Spacing, column, random_displacement, smooth_noise, voxel_positions
from .presets import PHANTOMS, PhantomCase

EXTENT_MM = (352.0, 248.0, 208.0)
"""What an image covers, from left to right, back to front and foot to head."""


@dataclass(frozen=True)
class Organ:
    """An ellipsoid before it is warped."""

    centre_mm: tuple[float, float, float]
    """Rightwards, forwards and upwards from the middle of the image."""
    radii_mm: tuple[float, float, float]
    """Along the same axes; infinite for a tube."""
    signal: tuple[float, float]
    """Mean and standard deviation over subjects (HU)."""


ORGANS: Mapping[str, Organ] = TypeAdapter(dict[str, Organ]).validate_python(PHANTOMS["organs"])
"""What there is, in the order in which it is painted."""

_KIDNEYS = ("right_kidney", "left_kidney")


@dataclass(frozen=True)
class Abdomen:
    """A cohort of such phantoms."""

    draws: Mapping[str, int]
    """Structure -> native code: organs, ``tumour`` and ``cyst``; all else reads 0."""
    codes: Mapping[int, str]
    """Native code -> label; all that its files show, which is all that there is."""
    cases: int
    """Number of cases."""
    lesions: bool
    """Whether kidneys have tumours and cysts."""
    modalities: tuple[str, ...] = ("CT",)
    absent: tuple[str, ...] = ()

    @property
    def complete_codes(self) -> Mapping[int, str]:
        """Native code -> what it means in the complete truth."""
        return self.codes


ABDOMENS: Mapping[str, Abdomen] = TypeAdapter(dict[str, Abdomen]).validate_python(PHANTOMS["abdomens"])
"""The cohorts by name, with the codes of KiTS23 and of BTCV."""


def make_case(preset_name: str, index: int, spacing_mm: Spacing, seed: int = 0) -> PhantomCase:
    """Make a case of one of `ABDOMENS`, with the arguments of `presets.make_case`.

    The image is float32 in HU; labels, which are also the truth, are uint8; the mask is the body.
    """
    preset = ABDOMENS[preset_name]
    rng = np.random.default_rng([seed, zlib.crc32(preset_name.encode()), index])
    shape = tuple(round(extent / size) for extent, size in zip(EXTENT_MM, spacing_mm, strict=True))
    origin = -(np.array(shape) - 1) / 2 * np.array(spacing_mm)
    world = voxel_positions(shape) * column(spacing_mm) + column(origin)
    world *= np.float32(np.exp(rng.normal(0, 0.06)))  # people differ in size
    world += random_displacement(rng, shape, spacing_mm, [(60.0, 7.0), (22.0, 2.5)])
    painting = _Painting(rng, world, spacing_mm)
    for name, organ in ORGANS.items():
        painting.add(name, organ)
    if preset.lesions:
        painting.add_lesions()
    signal = ndimage.gaussian_filter(painting.signal, 0.4)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.6)
    signal += np.float32(rng.uniform(8, 16)) * noise / noise.std()
    labels = np.zeros(shape, np.uint8)
    for structure, code in preset.draws.items():
        labels[painting.filled[structure] > 0.5] = code
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = origin
    return PhantomCase({"CT": np.round(signal).astype(np.float32)}, labels, labels, painting.body > 0.5, affine)


class _Painting:
    """An image while structures are added: its signal (HU), and how much of each voxel every structure fills."""

    def __init__(self, rng: np.random.Generator, world: FloatArray, spacing_mm: Spacing) -> None:
        self.rng, self.world, self.spacing_mm = rng, world, spacing_mm
        self.filled: dict[str, FloatArray] = {}
        self.places: dict[str, tuple[FloatArray, FloatArray]] = {}
        self.body = self._trunk(0)
        self.signal = -1000 + self.body * 900
        # the muscles below the skin's fat
        self._paint(self.body * (self._trunk(16) * (1 - self._trunk(28))), rng.normal(55, 5))
        bowel = np.clip(1.5 * self._noise(14.0) - 0.6, 0, 1)
        inside = self._ellipsoid(np.zeros(3), np.array([125.0, 78.0, np.inf])) * (world[1] > -30)
        self._paint(bowel * inside, 30 + 25 * self._noise(10.0))

    def _noise(self, scale_mm: float) -> FloatArray:
        return smooth_noise(self.rng, self.world.shape[1:], scale_mm, self.spacing_mm)

    def _trunk(self, shrunk_mm: float) -> FloatArray:
        """Return how much of each voxel lies in the trunk without an outer layer."""
        x_mm, y_mm = 162.0 - shrunk_mm, 112.0 - shrunk_mm
        level = ((np.abs(self.world[0]) / x_mm) ** 2.4 + (np.abs(self.world[1]) / y_mm) ** 2.4) ** (1 / 2.4)
        return np.clip(0.5 + (1 - level) * y_mm / float(np.mean(self.spacing_mm)), 0, 1)

    def _ellipsoid(self, centre: FloatArray, radii: FloatArray) -> FloatArray:
        """Return how much of each voxel an ellipsoid fills."""
        level = np.sqrt((((self.world - column(centre, np.float64)) / column(radii, np.float64)) ** 2).sum(0))
        return np.clip(0.5 + (1 - level) * np.min(radii) / float(np.mean(self.spacing_mm)), 0, 1).astype(np.float32)

    def _paint(self, amount: FloatArray, value: float | FloatArray) -> None:
        self.signal = (self.signal + amount * (value - self.signal)).astype(np.float32)

    def add(self, name: str, organ: Organ) -> None:
        """Paint an organ over what is there."""
        centre = np.array(organ.centre_mm) + self.rng.normal(0, 4, 3)
        radii = np.array(organ.radii_mm) * np.exp(self.rng.normal(0, 0.08, 3))
        filled = self._ellipsoid(centre, radii)
        if name in _KIDNEYS:  # the sinus, which is fat, opens to the middle
            middle = centre - [np.sign(centre[0]) * 17, 0, 0]
            filled *= 1 - self._ellipsoid(middle, np.array([15.0, 10.0, 20.0]))
        uneven = 6 * self._noise(8.0)
        self._paint(filled, self.rng.normal(*organ.signal) + uneven)
        self.filled = {earlier: np.minimum(amount, 1 - filled) for earlier, amount in self.filled.items()}
        self.filled[name], self.places[name] = filled, (centre, radii)

    def _point_of_a_kidney(self, depth: float) -> FloatArray:
        """Choose a point of a kidney, as deep as a part of its radius, on the side away from the spine."""
        centre, radii = self.places[str(self.rng.choice(_KIDNEYS))]
        towards = self.rng.normal(size=3)
        towards[0] = np.sign(centre[0]) * abs(towards[0])
        return centre + depth * radii * towards / np.linalg.norm(towards)

    def add_lesions(self) -> None:
        """Paint a tumour that grows out of a kidney, and in half of the subjects one cyst or two.

        Radii are log-normal: of tumours about 16 mm (17 ml), of cysts about 8 mm (2 ml).
        """
        rng = self.rng
        radius = float(np.clip(np.exp(rng.normal(np.log(16), 0.35)), 9, 34))
        tumour = self._ellipsoid(self._point_of_a_kidney(0.85), radius * np.exp(rng.normal(0, 0.15, 3)))
        for other in ("spine", "liver", "spleen", "stomach", "aorta", "vena_cava"):
            tumour = tumour * (1 - self.filled[other])
        uneven = 18 * self._noise(7.0)
        self._paint(tumour, rng.uniform(45, 115) + uneven)
        cysts = np.zeros(self.signal.shape, np.float32)
        for _ in range(int(rng.choice([0, 0, 1, 2]))):
            radius = float(np.clip(np.exp(rng.normal(np.log(8), 0.25)), 5.5, 14))
            cysts = np.maximum(cysts, self._ellipsoid(self._point_of_a_kidney(0.8), np.full(3, radius)))
        cysts = cysts * (1 - tumour)
        self._paint(cysts, rng.normal(6, 5))
        for kidney in _KIDNEYS:
            self.filled[kidney] = np.minimum(self.filled[kidney], 1 - np.maximum(tumour, cysts))
        self.filled |= {"tumour": tumour, "cyst": cysts}
