"""How a network is trained, and how it predicts: the settings of a params file that the method itself reads."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from .models import Settings
from .param_values import SHARE, Count, CountOrAuto, Flag, NotNegative, Number, Positive, Seed, Size, Some, Text, must


class Flip(Settings):
    """Mirroring where left and right have labels of their own."""

    swap: Annotated[
        list[Some],
        must(lambda v: all(len(pair) == 2 for pair in v), "must be pairs, such as [[kidney_left, kidney_right]]"),
        must(lambda v: len({name for pair in v for name in pair}) == 2 * len(v), "a label stands in two pairs"),
    ]
    """Pairs of labels that change places in a mirrored patch."""


class Phase(Settings):
    """A part of a training with settings of its own."""

    steps: Count
    """Number of its optimiser steps."""
    learning_rate: Positive | None = None
    """In place of the training's."""
    schedule: Literal["constant", "one_cycle"] | None = None
    """In place of the training's; each phase has a cycle of its own."""
    frozen: list[Text] = []
    """Parts of the network that do not learn, by how the names of their weights begin: of the U-Net ``down``,
    ``down.0``, ``bottom``, ``up``, ``merge`` or ``head``. Their normalisations keep their averages."""


BUDGETS = ("patch_voxels", "minutes")
"""Of a training: by these ``auto`` chooses other settings; once it has, they change nothing."""


class TrainingParams(Settings):
    """How a network is trained (thesis 3.4, 3.6, 4 and 6.1)."""

    steps: CountOrAuto = 20000
    """Upper bound of the number of optimiser steps. ``auto``: as many as `minutes` allow."""
    minutes: Positive = 5.0
    """Of ``auto``: minutes that training one network takes a thread of `recipe.THREAD_FLOPS`. It is a budget of
    operations: the same number of steps on every machine, slow or fast."""
    batch_size: CountOrAuto = 7
    """Patches per step. ``auto``: so many that they have four times `patch_voxels`, but two at least."""
    patch_size: Size = [32, 32, 32]
    """Patch size in voxels; a 1 makes patches of slices, for networks of slices. ``auto``: as much of the typical
    training image as `patch_voxels` allow, as wide as deep (in mm), see `recipe.plan_patch`."""
    patch_voxels: Count = 50_000
    """Of ``auto``: most voxels of a patch; a fourth of those of a step."""
    anywhere_fraction: Annotated[Number, SHARE] = 0.0
    """Share of the patches that lie anywhere in the image; the others contain a drawn label (thesis 3.4), so that
    small ones never show what is far from the brain."""
    learning_rate: Positive = 1e-3
    """Adam's rate; the peak if the schedule is one_cycle."""
    schedule: Literal["constant", "one_cycle"] = "constant"
    """``constant`` or ``one_cycle`` (rise to the peak over 30 % of the steps, then cosine to almost 0)."""
    weight_decay: NotNegative = 0.0
    """L2 penalty on the weights of convolutions: adds weight_decay * weight to their gradient."""
    flip: Flag | Literal["auto"] | Flip = True
    """Mirror half of the patches left to right. ``auto``: if the training images look like their mirror images, see
    `recipe.mirror_likeness`; heads do, a heart or one hippocampus does not. Of labels that tell left from right, say
    which belong together, as in ``{swap: [[kidney_left, kidney_right]]}``, or do not mirror."""
    noise_sd: NotNegative = 0.1
    """Standard deviation of the Gaussian noise added to patches, in z-score units."""
    contrast: NotNegative = 0.0
    """Strength of the random contrast of patches, see `augmentation.vary_contrast`; 0 for none, 0.3 to train for
    scanners that the training cohorts do not have."""
    shape: NotNegative = 0.0
    """Strength of the random rotation and scaling of every fourth patch, see `augmentation.vary_shape_`; 0 for none,
    0.15 for some degrees and some tenths."""
    validation_fraction: Annotated[Number, SHARE] = 0.2
    """Share of a training cohort's cases kept for validation, where the manifest does not say; with 0 all cases train,
    and validate too, so that what is measured on validation images says nothing of new ones."""
    validation_every: Count = 200
    """Steps between two validations; a checkpoint is written at each."""
    validation_patches: Count = 10
    """Number of validation patches, the same at every validation."""
    validation_patch_size: Size = [128, 128, 128]
    """Their size in voxels; ``auto``: that of the training patches."""
    patience: Count | None = 10
    """Stop after so many validations without a new minimum; null never stops early."""
    split_seed: Seed = 0
    """Seed of the split into training and validation cases."""
    phases: list[Phase] = []
    """The training in parts, one after the other; ``steps`` is then their sum, and ``patience`` must be null."""

    @model_validator(mode="after")
    def _in_phases(self) -> Self:
        if self.phases:
            self.__dict__["steps"] = sum(phase.steps for phase in self.phases)
            if self.patience is not None:
                raise ValueError("phases run to their end: patience must be null")
        return self


class InferenceParams(Settings):
    """How whole volumes are segmented."""

    memory_gib: Positive = 4.0
    """Memory that one prediction may take; volumes that need more are cut into tiles that give the same result."""
    clip_to_brain: Flag = False
    """Predict background outside the brain, whatever the networks say there; in studies and by ``multiseg predict``."""
    mirrored: Flag = False
    """Predict the mirror image (left to right) too, and average the probabilities, with networks that learned from
    mirrored patches, see ``training.flip``; twice the time. Needs an ``orientation`` other than native."""
    views: Count = 1
    """Predict an image so many times, with the network's pooling windows in other places each time, and average the
    probabilities: steadier outlines for so many times the time, see `tiling.predict_views`."""
    scored_on: Literal["native", "store"] = "native"
    """Where predictions are compared with labels: ``native``, the grid that the labels were drawn on, to which
    `multiseg predict` brings its result too; or ``store``, the grid that networks see, against resampled labels."""


def swaps(training: TrainingParams) -> dict[str, str]:
    """Return which label takes the place of which in a mirrored patch, see `Flip`."""
    pairs = training.flip.swap if isinstance(training.flip, Flip) else []
    return {a: b for pair in pairs for a, b in (pair, pair[::-1])}
