"""What is done to images before networks see them: part of the params file, of every model file and of bundles."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from multiseg_core.models import Settings
from multiseg_core.param_values import Flag, Number, must

from .param_values import Spacing


class PreprocessingParams(Settings):
    """What is done to every case before it is stored (thesis 3.5), and before a prediction; every step is optional."""

    orientation: Literal["closest_canonical", "world", "native"] = "closest_canonical"
    """``closest_canonical`` (axes reordered and flipped to be nearest to RAS+, nothing is interpolated), ``world``
    (resampled along the scanner axes, so that an oblique acquisition is rotated) or ``native`` (left as it is)."""
    spacing_mm: Spacing | None = 1.0
    """Voxel size of the store: a number, or three, from left to right, back to front and foot to head (``orientation:
    native``: as the axes of the files). null keeps that of each case. ``auto``: that of the typical training image, or
    coarser, so that a patch sees enough of its surroundings, see `recipe.plan_spacing`."""
    label_interpolation: Literal["auto", "nearest", "gaussian"] = "auto"
    """How labels are brought to the store's voxels. ``auto``: each label, and each small piece of it, keeps its volume,
    see `data.label_resampling`. ``nearest``: nearest neighbour, as in the thesis where only the scale changes.
    ``gaussian``: a Gaussian per label, then the largest, as in the thesis for rotated grids; eats small lesions."""
    brain_extraction: Literal["auto", "robex", "deepbet", "none"] = "auto"
    """Where the brain is. ``auto``: the case's mask; without one, what differs from the background of a
    brain-extracted image; else ROBEX, on the T1 if there is one. ``robex``: the case's mask, or ROBEX on any image.
    ``deepbet``: as ``auto``, with deepbet's networks in ROBEX's place, if they are installed: seconds, not a minute.
    ``none``: everywhere, whatever mask the case has."""
    z_score: Flag = True
    """Standardise each image inside the brain (eq. 22)."""
    outside_value: Annotated[Number, must(math.isfinite, "must be finite, got {0}")] = -4.0
    """Value of all images outside the brain, after z-scoring."""
    clip_values: Annotated[
        list[Number] | None, must(lambda v: len(v) == 2 and v[0] < v[1], "must be two values, low and high, got {0}")
    ] = None
    """Two values that limit images before anything else, such as [-160, 240] Hounsfield units; null for none."""
    clip_percentiles: Annotated[
        list[Number] | None,
        must(lambda v: len(v) == 2 and 0 <= v[0] < v[1] <= 100, "must be two percentiles, low and high, got {0}"),
    ] = None
    """Two percentiles of the brain that limit an image before it is standardised, such as [0.5, 99.5], so that single
    voxels of huge value do no harm; null, as in the thesis, for none."""
    resample_to: Literal["first"] | None = None
    """``first``: images and labels of a case may lie on different grids of one world; all are brought to that of its
    T1, or without one to that of the first image by name. null: files on other grids are errors."""
    crop: Flag = True
    """Store no more than the brain and a small margin. Predictions return to the whole image."""

    @property
    def has_outside(self) -> bool:
        """Whether images have an outside, which holds `outside_value`, or the body goes on at their border."""
        return self.brain_extraction != "none"
