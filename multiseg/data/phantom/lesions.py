"""Pathology of the phantoms: white matter hyperintensities of presumed vascular origin."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from .anatomy import Subject
from .fields import FloatArray, limit_above, smooth_noise

RATER = 0.6
"""How far raters stray from the middle of an edge, in units of its width."""


def draw_wmh(rng: np.random.Generator, subject: Subject, varied: bool = False) -> tuple[FloatArray, FloatArray]:
    """Draw the WMH of a subject: a soft map of what images show, (X, Y, Z) float32, and what a rater draws, bool.

    Lesions hug the ventricles (caps and bands) and dot the deep white matter, in proportions that vary. The load is
    log-normal with a median of 10 ml, cut to 1-60 ml, as in the cases of the WMH challenge 2017 (Kuijf et al. 2019).
    Edges are sharp in some subjects and fade out over millimetres in others, where raters agree least.

    `varied` lesions are of any kind: from half a millilitre, mostly small ones, also in cerebellum and brain stem, as
    in multiple sclerosis.
    """
    median_ml, spread, least_ml = (4, 1.2, 0.5) if varied else (10, 0.9, 1)
    load_ml = float(np.clip(np.exp(rng.normal(np.log(median_ml), spread)), least_ml, 60))
    spacing_mm = subject.spacing_mm
    distance_mm = subject.ventricle_distance_mm
    wm = subject.fractions[2] / np.maximum(subject.brain, 1e-3)
    # deep white matter: away from the cortex, but the ventricles are no cortex
    depth = ndimage.gaussian_filter(np.where(distance_mm < 0, 1, wm), [2.5 / s for s in spacing_mm])
    noise = smooth_noise(rng, wm.shape, float(rng.uniform(1.2, 3.0) if varied else rng.uniform(2.0, 4.0)), spacing_mm)
    patchiness = smooth_noise(rng, wm.shape, 8.0, spacing_mm)
    near = np.exp(-np.maximum(distance_mm, 0) / 5.0)
    score = rng.uniform(0.0 if varied else 1.5, 3.5) * near + 0.7 * noise + 0.6 * patchiness
    score -= 5.0 * np.clip(0.65 - wm, 0, 1) + 5.0 * np.clip(0.8 - depth, 0, 1)
    score -= 10.0 * (distance_mm < 0) + 3.0 * np.clip(1 - subject.midline_distance_mm / 6, 0, 1)
    score -= (0.5 if varied else 5.0) * (subject.hindbrain > 0.5)
    softness = float(rng.uniform(0.15, 0.45))
    judged = score + RATER * softness * smooth_noise(rng, wm.shape, 3.0, spacing_mm)
    limit, judged_limit = (limit_above(s, load_ml, spacing_mm) for s in (score, judged))
    return special.expit((score - limit) / softness).astype(np.float32), judged > judged_limit
