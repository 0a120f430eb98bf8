"""Plans: what each run trains, and the keys that name its products.

A *run* is one (scenario, model, seed). It has one network, or several whose predictions are merged (MultiUNet). The key
of a run or network is a fingerprint of everything that can change its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ModelSpec:
    """What a model name stands for.

    Attributes
    ----------
    loss
        Class name in `multiseg_core.losses`.
    naive
        Targets hold single classes only: every background code is background (thesis 3.2.1).
    uniform_sampling
        Training patches lie anywhere in the brain rather than around a drawn label (thesis 3.4 compares the two).
    complete
        Trained on the complete labels of the same cases: an upper bound, where somebody knows the truth.
    pseudo_labels
        The networks of the tasks first label what the other cohorts leave out; trained on what they say.
    per_task
        One network per task, merged by priority, instead of one for all (thesis 3.2.2).
    shared_modalities
        Each of these networks sees the modalities of the scenario only, whatever else its cohorts have.
    """

    loss: str
    naive: bool
    per_task: bool = False
    shared_modalities: bool = False
    uniform_sampling: bool = False
    complete: bool = False
    pseudo_labels: bool = False


MODELS: dict[str, ModelSpec] = {
    "multi_unet": ModelSpec("SelectiveCrossEntropy", naive=True, per_task=True),
    "cross_entropy": ModelSpec("SelectiveCrossEntropy", naive=True),
    "selective_cross_entropy": ModelSpec("SelectiveCrossEntropy", naive=False),
    "dice": ModelSpec("SoftDice", naive=True),
    "selective_dice": ModelSpec("SelectiveDice", naive=True),
    "patchwise_selective_cross_entropy": ModelSpec("PatchwiseSelectiveCrossEntropy", naive=False),
    "selective_cross_entropy_uniform": ModelSpec("SelectiveCrossEntropy", naive=False, uniform_sampling=True),
    # patches around labels nearly always hold what their cohort draws; elsewhere the set of the patch is another one
    "patchwise_selective_cross_entropy_uniform": ModelSpec(
        "PatchwiseSelectiveCrossEntropy", naive=False, uniform_sampling=True
    ),
    # as pseudo-labels need them, so they are trained but once
    "multi_unet_shared": ModelSpec("SelectiveCrossEntropy", naive=True, per_task=True, shared_modalities=True),
    # plain cross-entropy: completed labels are single classes, but for coarse, ignored and foreign ones
    "oracle": ModelSpec("SelectiveCrossEntropy", naive=False, complete=True),
    "pseudo_labels": ModelSpec("SelectiveCrossEntropy", naive=False, pseudo_labels=True),
}
"""The models by name."""
