"""A scanner: what the tissues of a subject look like in each modality of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .anatomy import Subject, smooth_noise

FloatArray = np.ndarray


@dataclass(frozen=True)
class Contrast:
    """Mean signal of each tissue in one modality, in units in which white matter on T1 is about 1."""

    csf: float
    gm: float
    wm: float
    wmh: float


@dataclass(frozen=True)
class Scanner:
    """The look of one cohort.

    Attributes
    ----------
    contrasts
        Modality -> tissue means.
    contrast_jitter
        Standard deviation of the tissue means between subjects, relative.
    gamma
        Exponent of the intensity transfer.
    bias
        Relative amplitude of the bias field.
    noise
        Standard deviation of the Rician noise in signal units.
    blur_mm
        Width (sigma) of the point spread.
    """

    contrasts: Mapping[str, Contrast]
    contrast_jitter: float = 0.04
    gamma: float = 1.0
    bias: float = 0.08
    noise: float = 0.03
    blur_mm: float = 0.7

    def image(self, rng: np.random.Generator, subject: Subject, wmh: FloatArray, modality: str) -> FloatArray:
        """Draw one image of a subject, (X, Y, Z) float32, brain only (0 outside), in arbitrary units.

        Partial volume comes from the fractions, which are not thresholded.
        """
        mean = self.contrasts[modality]
        jitter = np.exp(rng.normal(0, self.contrast_jitter, 4))
        csf, gm, wm, lesion = np.array([mean.csf, mean.gm, mean.wm, mean.wmh]) * jitter
        signal = csf * subject.fractions[0] + gm * subject.fractions[1] + wm * subject.fractions[2]
        signal = (1 - wmh) * signal + wmh * lesion * subject.brain
        spacing = subject.spacing_mm
        signal = ndimage.gaussian_filter(signal, [self.blur_mm / s for s in spacing])
        texture = 1 + 0.03 * smooth_noise(rng, signal.shape, 4.0, spacing)
        field = np.exp(self.bias * smooth_noise(rng, signal.shape, 45.0, spacing))
        signal = np.maximum(signal, 0) ** self.gamma * texture * field
        real = signal + self.noise * rng.standard_normal(signal.shape, dtype=np.float32)
        imaginary = self.noise * rng.standard_normal(signal.shape, dtype=np.float32)
        gain = 1000 * np.exp(rng.normal(0, 0.2))
        return (gain * np.hypot(real, imaginary) * (subject.brain > 0.5)).astype(np.float32)
