"""Protocols: how the raters of a cohort draw what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .anatomy import Subject
from .fields import column

CODES: Mapping[str, int] = {"csf": 1, "gm": 2, "wm": 3, "wmh": 4, "oedema": 5, "tumour": 6}
"""Native codes of the phantoms' label files; 0 is everything else."""

_TISSUE_CODES = (CODES["csf"], CODES["gm"], CODES["wm"])

OTHER = 7
"""Native code of structures that a cohort outlines but that no study evaluates."""


@dataclass(frozen=True)
class Protocol:
    """How a cohort draws its labels."""

    annotates: tuple[str, ...]
    """The labels that its files show; the others read 0."""
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """What the shares of CSF, GM and WM in a voxel count for: a CSF weight above 1 draws CSF generously."""
    thresholds: tuple[float, float] | None = None
    """Labels as programs that cluster intensities give them, from a voxel's mean signal: CSF up to this share of the
    way from CSF's signal to GM's, and WM from that share of the way from GM's to WM's. A voxel of CSF and WM then
    counts as GM."""
    csf_reach_mm: float | None = None
    """CSF further than this from the ventricles is not drawn: it becomes GM where the voxel holds some, else 0."""
    hindbrain: str = "drawn"
    """``drawn`` like the rest, ``background`` or ``other`` (code `OTHER`)."""

    def draw(self, subject: Subject, pathology: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the label file of a subject, (X, Y, Z) uint8 of `CODES`, 0 and `OTHER`."""
        labels = complete_truth(subject, pathology, self.weights)
        if self.thresholds is not None:
            labels = np.where(np.isin(labels, _TISSUE_CODES), _by_signal(subject, *self.thresholds), labels)
        if self.csf_reach_mm is not None:
            far = (labels == CODES["csf"]) & (subject.ventricle_distance_mm > self.csf_reach_mm)
            labels[far] = np.where(subject.fractions[1][far] > 0.25, CODES["gm"], 0)
        tissue = np.isin(labels, _TISSUE_CODES)
        drawn = np.isin(labels, [CODES[name] for name in self.annotates])
        labels = np.where(drawn, labels, 0).astype(np.uint8)
        if self.hindbrain != "drawn":
            labels[tissue & (subject.hindbrain > 0.5)] = OTHER if self.hindbrain == "other" else 0
        return labels


def _by_signal(subject: Subject, csf_to_gm: float, gm_to_wm: float) -> np.ndarray:
    """Return tissue codes by signal, (X, Y, Z) uint8, see `Protocol.thresholds`."""
    gm = np.float32(0.6)  # signal of GM on T1, of CSF 0 and of WM 1
    signal = (gm * subject.fractions[1] + subject.fractions[2]) / np.maximum(subject.brain, 1e-3)
    limits = [gm * csf_to_gm, gm + (1 - gm) * gm_to_wm]
    return np.array(_TISSUE_CODES, dtype=np.uint8)[np.digitize(signal, limits)]


def complete_truth(
    subject: Subject, pathology: Mapping[str, np.ndarray], weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> np.ndarray:
    """Return what is there: the most abundant tissue of each voxel inside the brain, pathology on top.

    `pathology` has maps (X, Y, Z) of what a rater sees of it by label, drawn where they exceed 0.5, later ones on top;
    `weights` is that of `Protocol`. The result is (X, Y, Z) uint8 of `CODES`, 0 outside the brain.
    """
    truth = np.array(_TISSUE_CODES, dtype=np.uint8)[(subject.fractions * column(weights)).argmax(0)]
    for label, amount in pathology.items():
        truth[amount > 0.5] = CODES[label]
    truth[subject.brain <= 0.5] = 0
    return truth
