"""A scanner: what the tissues of a subject look like in each modality of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from .anatomy import Subject
from .fields import smooth_noise

FloatArray = np.ndarray


@dataclass(frozen=True)
class Contrast:
    """Mean signal of each tissue in one modality, in units in which white matter on T1 is about 1."""

    csf: float
    gm: float
    wm: float
    wmh: float = 0.0
    oedema: float = 0.0
    core: float = 0.0
    rim: float = 0.0


def t1(csf: float, gm: float) -> Contrast:
    """Return a T1 contrast in which WM is 1; WMH are hardly darker, tumours as dark as grey matter or darker."""
    return Contrast(csf, gm, 1.0, wmh=0.88, oedema=0.72, core=0.55, rim=0.70)


CONTRASTS: Mapping[str, Contrast] = {
    "IR": Contrast(csf=0.15, gm=0.50, wm=1.00, wmh=0.75),
    "T2": Contrast(csf=1.40, gm=0.80, wm=0.55, wmh=0.95, oedema=1.15, core=1.20, rim=0.95),
    "FLAIR": Contrast(csf=0.22, gm=0.88, wm=0.72, wmh=1.25, oedema=1.25, core=0.95, rim=1.10),
}
"""What tissues look like in the modalities that do not derive from a cohort's T1."""


@dataclass(frozen=True)
class Scanner:
    """The look of one cohort.

    Attributes
    ----------
    modalities
        What it takes.
    t1
        Its T1 contrast; T1c is the same with enhancement.
    jitter
        Standard deviation of the tissue means between subjects, relative.
    gamma
        Exponent of the intensity transfer of T1 and T1c.
    bias
        Relative amplitude of the bias field.
    noise
        Standard deviation of the Rician noise in signal units.
    texture
        Relative variation within a tissue.
    blur_mm
        Width (sigma) of the point spread in the plane.
    slice_mm
        Slice thickness; 0 for images that are as fine in all directions.
    any_contrast
        Draw the T1 contrast and transfer anew for every subject, from all that scanners produce.
    """

    modalities: tuple[str, ...]
    t1: Contrast = t1(0.3, 0.65)  # noqa: RUF009
    jitter: float = 0.04
    gamma: float = 1.0
    bias: float = 0.08
    noise: float = 0.03
    texture: float = 0.03
    blur_mm: float = 0.5
    slice_mm: float = 0.0
    any_contrast: bool = False

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
            Soft maps by the names of `Contrast`, later ones on top.
        modality
            ``T1``, ``T1c`` or a key of `CONTRASTS`.
        """
        mean, gamma = self.t1, self.gamma
        if modality == "T1c":
            mean = replace(mean, core=0.45, rim=1.45)
        elif modality != "T1":
            mean, gamma = CONTRASTS[modality], 1.0
        elif self.any_contrast:
            mean, gamma = _any_contrast(rng), float(np.exp(rng.normal(0, 0.15)))
        jitter = np.exp(rng.normal(0, self.jitter, 3))
        csf, gm, wm = (np.array([mean.csf, mean.gm, mean.wm]) * jitter).astype(np.float32)
        signal = csf * subject.fractions[0] + gm * subject.fractions[1] + wm * subject.fractions[2]
        for name, amount in pathology.items():
            level = np.float32(getattr(mean, name) * np.exp(rng.normal(0, self.jitter)))
            signal += amount * (level * subject.brain - signal)
        spacing = subject.spacing_mm
        signal = ndimage.gaussian_filter(signal, [self.blur_mm / s for s in spacing])
        spread = 1 + np.float32(self.texture) * smooth_noise(rng, signal.shape, 4.0, spacing)
        bias = np.exp(np.float32(self.bias) * smooth_noise(rng, signal.shape, 45.0, spacing))
        signal = np.maximum(signal, 0) ** np.float32(gamma) * spread * bias
        real = signal + np.float32(self.noise) * rng.standard_normal(signal.shape, dtype=np.float32)
        imaginary = np.float32(self.noise) * rng.standard_normal(signal.shape, dtype=np.float32)
        gain = np.float32(1000 * np.exp(rng.normal(0, 0.2)))
        return (gain * np.hypot(real, imaginary) * (subject.brain > 0.5)).astype(np.float32)


def _any_contrast(rng: np.random.Generator) -> Contrast:
    """Draw a T1 contrast from all that scanners produce: CSF dark, GM between CSF and WM."""
    csf = rng.uniform(0.05, 0.35)
    return t1(csf, csf + (1 - csf) * rng.uniform(0.5, 0.72))
