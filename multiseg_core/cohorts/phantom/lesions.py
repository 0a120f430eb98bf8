"""Pathology of the phantoms: white matter hyperintensities of presumed vascular origin."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from .anatomy import Subject
from .fields import smooth_noise

FloatArray = np.ndarray


def draw_wmh(rng: np.random.Generator, subject: Subject) -> FloatArray:
    """Draw the WMH of a subject as a soft map, (X, Y, Z) float32 in [0, 1]; lesion is where it exceeds 0.5.

    Lesions hug the ventricles (caps and bands) and dot the deep white matter; the load is log-normal with a
    median of 12 ml, cut to 3-45 ml, as in the cases of the WMH challenge 2017 (Kuijf et al. 2019).
    """
    load_ml = float(np.clip(np.exp(rng.normal(np.log(12), 0.7)), 3, 45))
    spacing_mm = subject.spacing_mm
    distance_mm = subject.ventricle_distance_mm
    wm = subject.fractions[2] / np.maximum(subject.brain, 1e-3)
    # deep white matter: away from the cortex, but the ventricles are no cortex
    depth = ndimage.gaussian_filter(np.where(distance_mm < 0, 1, wm), [2.5 / s for s in spacing_mm])
    noise = smooth_noise(rng, wm.shape, 3.0, spacing_mm)
    patchiness = smooth_noise(rng, wm.shape, 8.0, spacing_mm)
    score = 3.0 * np.exp(-np.maximum(distance_mm, 0) / 5.0) + 0.7 * noise + 0.6 * patchiness
    score -= 5.0 * np.clip(0.65 - wm, 0, 1) + 5.0 * np.clip(0.8 - depth, 0, 1)
    score -= 10.0 * (distance_mm < 0) + 3.0 * np.clip(1 - subject.midline_distance_mm / 6, 0, 1)
    score -= 5.0 * (subject.hindbrain > 0.5)
    n_voxels = int(load_ml * 1000 / np.prod(spacing_mm))
    threshold = np.partition(score.ravel(), -n_voxels)[-n_voxels]
    return special.expit((score - threshold) / 0.2).astype(np.float32)
