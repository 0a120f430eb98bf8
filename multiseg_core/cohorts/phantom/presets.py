"""The imitated cohorts, and how one case of them is made.

Each preset imitates one cohort of the study: its modalities, which labels it draws, whether its subjects have
lesions, and what its images look like.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .anatomy import TISSUES, Subject, draw_subject
from .atlas import load_atlas
from .lesions import draw_wmh
from .scanner import Contrast, Scanner

__all__ = ["CODES", "PRESETS", "PhantomCase", "Preset", "make_case"]

CODES: Mapping[str, int] = {"csf": 1, "gm": 2, "wm": 3, "wmh": 4}
"""Native codes of the phantoms' label files; 0 is everything else."""


@dataclass(frozen=True)
class Preset:
    """One imitated cohort.

    Attributes
    ----------
    scanner
        Its images; the keys of its contrasts are the modalities.
    annotates
        The labels that its files show; the others read 0.
    absent
        Labels that its subjects do not have.
    cases
        Number of cases in the thesis.
    """

    scanner: Scanner
    annotates: tuple[str, ...]
    absent: tuple[str, ...]
    cases: int

    @property
    def has_wmh(self) -> bool:
        return "wmh" not in self.absent


_T1 = Contrast(csf=0.30, gm=0.66, wm=1.00, wmh=0.86)
_FLAIR = Contrast(csf=0.22, gm=0.88, wm=0.72, wmh=1.25)

# The MRBrainS cohorts come from like scanners: their intensities are as close to each other as to themselves, with
# MRBrainS13 the most homogeneous (thesis figure 16).
PRESETS: Mapping[str, Preset] = {
    "mrbrains13": Preset(
        Scanner({"T1": _T1, "FLAIR": _FLAIR}, contrast_jitter=0.01, bias=0.05, noise=0.03),
        annotates=("csf", "gm", "wm"), absent=("wmh",), cases=5,
    ),
    "mrbrains17": Preset(
        Scanner({"T1": _T1, "FLAIR": _FLAIR}, contrast_jitter=0.04, bias=0.06, noise=0.03),
        annotates=("wmh",), absent=(), cases=60,
    ),
    "mrbrains18": Preset(
        Scanner({"T1": _T1, "FLAIR": _FLAIR}, contrast_jitter=0.04, bias=0.06, noise=0.03),
        annotates=("csf", "gm", "wm", "wmh"), absent=(), cases=7,
    ),
}  # fmt: skip
"""The cohorts that can be imitated, by name."""


@dataclass(frozen=True)
class PhantomCase:
    """One phantom: images by modality, labels as its cohort draws them, the complete truth, all on one grid."""

    images: Mapping[str, np.ndarray]
    labels: np.ndarray
    truth: np.ndarray
    brain_mask: np.ndarray
    affine: np.ndarray


def make_case(preset_name: str, index: int, spacing_mm: tuple[float, float, float], seed: int = 0) -> PhantomCase:
    """Make case number `index` of a phantom cohort. Equal arguments give equal cases.

    Parameters
    ----------
    preset_name
        A key of `PRESETS`.
    index
        Case number from 0.
    spacing_mm
        Voxel size.
    seed
        Seed of the cohort.

    Returns
    -------
    PhantomCase
        Images are float32 and 0 outside the brain; labels and truth are uint8 with `CODES`.
    """
    preset = PRESETS[preset_name]
    rng = np.random.default_rng([seed, zlib.crc32(preset_name.encode()), index])
    subject = draw_subject(rng, load_atlas(), spacing_mm)
    wmh = draw_wmh(rng, subject) if preset.has_wmh else np.zeros_like(subject.brain)
    truth = _truth(subject, wmh)
    images = {m: preset.scanner.image(rng, subject, wmh, m) for m in preset.scanner.contrasts}
    drawn = np.isin(truth, [CODES[name] for name in preset.annotates])
    return PhantomCase(images, np.where(drawn, truth, 0).astype(np.uint8), truth, subject.brain > 0.5, subject.affine)


def _truth(subject: Subject, wmh: np.ndarray) -> np.ndarray:
    """The most abundant tissue of each voxel inside the brain, lesions on top."""
    tissue_codes = np.array([CODES[name] for name in TISSUES], dtype=np.uint8)
    truth = tissue_codes[subject.fractions.argmax(0)]
    truth[wmh > 0.5] = CODES["wmh"]
    truth[subject.brain <= 0.5] = 0
    return truth
