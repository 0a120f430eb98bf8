"""Losses, samplers, networks and training for datasets that are each labelled for another task.

Names are imported when they are asked for: torch takes seconds.
"""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "inference": ("Segmenter",),
    "labels": ("CodeMap", "LabelSpace"),
    "losses": (
        "PatchwiseSelectiveCrossEntropy", "Selective", "SelectiveCrossEntropy", "SelectiveDice", "SelectiveExclusion",
        "SelectiveSigmoid", "SoftDice",
    ),
    "networks": ("UNet", "build_network"),
    "samplers": ("PatchSampler", "SamplingCohort"),
    "settings": ("InferenceParams", "TrainingParams"),
    "training": ("Trainer",),
}  # fmt: skip

__all__ = sorted(name for names in _PLACES.values() for name in names)


def __getattr__(name: str) -> Any:
    """Import a public name, or a module."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
