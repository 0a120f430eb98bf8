"""A scanner: what the tissues of a subject look like in each modality of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from .anatomy import Subject
from .fields import FloatArray, smooth_noise

Range = tuple[float, float]


@dataclass(frozen=True)
class TissueContrast:
    """Mean signal of each tissue in one modality, relative to white matter; of pathology, from least to most."""

    csf: float
    gm: float
    wmh: Range = (1.0, 1.0)
    oedema: Range = (1.0, 1.0)
    core: Range = (1.0, 1.0)
    rim: Range = (1.0, 1.0)
    ventricle_rim: float = 0.0
    """How much brighter the lining of the ventricles may be than white matter."""


def t1(csf: float, gm: float) -> TissueContrast:
    """Return a T1 contrast: lesions are as dark as grey matter or a little brighter, tumours may be darker."""
    return TissueContrast(csf, gm, wmh=(0.50, 0.75), oedema=(0.60, 0.85), core=(0.40, 0.80), rim=(0.50, 0.85))


_ANY_FLAIR = TissueContrast(
    0.3, 1.2, wmh=(1.3, 2.5), oedema=(1.3, 2.6), core=(0.6, 2.2), rim=(1.0, 1.9), ventricle_rim=0.3
)

CONTRASTS: Mapping[str, TissueContrast] = {
    "IR": TissueContrast(0.15, 0.50, wmh=(0.60, 0.80)),
    "T2": TissueContrast(2.50, 1.45, wmh=(1.4, 1.9), oedema=(1.6, 2.3), core=(1.4, 2.4), rim=(1.3, 1.9)),
    "FLAIR": TissueContrast(
        0.35, 1.20, wmh=(1.35, 1.80), oedema=(1.30, 1.80), core=(0.7, 1.5), rim=(1.1, 1.5), ventricle_rim=0.2
    ),
}
"""What tissues look like in the modalities that do not derive from a cohort's T1.

Lesions fade out, so that the mean over what a rater draws lies nearer to white matter than these numbers. On images of
multiple sclerosis (Lesjak et al. 2018, Neuroinformatics 16, 51-63) that mean is 1.36 times the signal of white matter
on FLAIR and 0.69 to 0.80 on T1; grey matter on FLAIR has 1.08 to 1.13."""


@dataclass(frozen=True)
class Scanner:
    """The look of one cohort."""

    modalities: tuple[str, ...]
    """What it takes."""
    csf: float = 0.3
    gm: float = 0.65
    """Signal of these tissues on T1; on T1c it is the same."""
    jitter: float = 0.04
    """Standard deviation of the tissue means between subjects, relative."""
    gamma: float = 1.0
    """Exponent of the intensity transfer of T1 and T1c."""
    bias: float = 0.08
    """Relative amplitude of the bias field."""
    noise: float = 0.03
    """Standard deviation of the Rician noise in signal units."""
    texture: float = 0.03
    """Relative variation within a tissue."""
    blur_mm: float = 0.5
    """Width (sigma) of the point spread in the plane."""
    slice_mm: float = 0.0
    """Slice thickness; 0 for images that are as fine in all directions."""
    uneven: float = 0.3
    """Relative variation of the contrast of pathology from place to place."""
    regions: float = 0.0
    """Relative variation of grey matter from region to region."""
    contrast: TissueContrast | None = None
    """Contrast of all modalities, in place of the usual ones."""
    any_contrast: bool = False
    """Draw another scanner for every image, from all that there are."""

    def image(
        self, rng: np.random.Generator, subject: Subject, pathology: Mapping[str, FloatArray], modality: str
    ) -> FloatArray:
        """Draw one image of a subject, (X, Y, Z) float32, brain only (0 outside), in arbitrary units.

        Partial volume comes from the fractions, which are not thresholded.

        Parameters
        ----------
        rng
            Source of all randomness.
        subject
            The tissues.
        pathology
            Soft maps by the names of `TissueContrast`, later ones on top. Its signal varies from place to place.
        modality
            ``T1``, ``T1c`` or a key of `CONTRASTS`.
        """
        if self.any_contrast:
            return _any_scanner(rng, modality).image(rng, subject, pathology, modality)
        of_t1 = modality in ("T1", "T1c")
        mean = CONTRASTS[modality] if self.contrast is None and not of_t1 else self.contrast or t1(self.csf, self.gm)
        gamma = self.gamma if of_t1 or self.contrast else 1.0
        if modality == "T1c":
            mean = replace(mean, core=(0.35, 0.75), rim=(1.1, 1.6))
        jitter = np.exp(rng.normal(0, self.jitter, 3))
        csf, gm, wm = (np.array([mean.csf, mean.gm, 1.0]) * jitter).astype(np.float32)
        spacing = subject.spacing_mm
        grey = gm * subject.fractions[1]
        if self.regions:
            grey = grey * (1 + np.float32(self.regions) * smooth_noise(rng, grey.shape, 15.0, spacing))
        signal = csf * subject.fractions[0] + grey + wm * subject.fractions[2]
        if mean.ventricle_rim:  # bright whether there are lesions or not
            lining = np.exp(-(((subject.ventricle_distance_mm - 1) / 1.2) ** 2) / 2)
            signal += np.float32(rng.uniform(0, mean.ventricle_rim)) * lining * subject.brain
        for name, amount in pathology.items():
            level = np.float32(rng.uniform(*getattr(mean, name)))
            uneven = 1 + np.float32(self.uneven) * smooth_noise(rng, amount.shape, 6.0, spacing)
            signal += amount * np.clip(uneven, 0, 2) * (level * subject.brain - signal)
        signal = ndimage.gaussian_filter(signal, [self.blur_mm / s for s in spacing])
        spread = 1 + np.float32(self.texture) * smooth_noise(rng, signal.shape, 4.0, spacing)
        bias = np.exp(np.float32(self.bias) * smooth_noise(rng, signal.shape, 45.0, spacing))
        signal = np.maximum(signal, 0) ** np.float32(gamma) * spread * bias
        real = signal + np.float32(self.noise) * rng.standard_normal(signal.shape, dtype=np.float32)
        imaginary = np.float32(self.noise) * rng.standard_normal(signal.shape, dtype=np.float32)
        gain = np.float32(1000 * np.exp(rng.normal(0, 0.2)))
        return (gain * np.hypot(real, imaginary) * (subject.brain > 0.5)).astype(np.float32)


def _any_scanner(rng: np.random.Generator, modality: str) -> Scanner:
    """Draw a scanner: on T1, CSF is dark and GM lies between CSF and WM; on FLAIR, GM is brighter than WM."""
    if modality in ("T1", "T1c"):
        csf = rng.uniform(0.05, 0.35)
        gm = csf + (1 - csf) * rng.uniform(0.5, 0.72)
        contrast = replace(t1(csf, gm), wmh=(0.5, 0.95), oedema=(0.55, 0.95))
    else:
        contrast = replace(_ANY_FLAIR, csf=rng.uniform(0.05, 0.6), gm=rng.uniform(1.0, 1.3))
    gamma = float(np.exp(rng.normal(0, 0.2)))
    bias, noise, texture = rng.uniform([0.03, 0.01, 0.01], [0.2, 0.05, 0.06]).tolist()
    blur_mm, regions = rng.uniform([0.4, 0.0], [1.0, 0.1]).tolist()
    look = {"gamma": gamma, "bias": bias, "noise": noise, "texture": texture, "blur_mm": blur_mm, "regions": regions}
    return Scanner((modality,), jitter=0.0, **look, contrast=contrast)
