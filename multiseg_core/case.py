"""What the sampler, the trainer and the segmenter need of a case, whoever stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from .labels import LabelSet


class Case(Protocol):
    """A case that can be drawn from; arrays may be memory maps."""

    @property
    def name(self) -> str:
        """Its name within its cohort."""

    @property
    def cohort(self) -> str:
        """Name of its cohort."""

    @property
    def images(self) -> np.ndarray:
        """(M, X, Y, Z) float32."""

    @property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool, inside the brain."""

    @property
    def target(self) -> np.ndarray:
        """(X, Y, Z) uint8 positions in `sets`."""

    @property
    def sets(self) -> tuple[LabelSet, ...]:
        """The label sets that `target` refers to; position 0 is background's."""

    @property
    def voxels(self) -> Mapping[int, np.ndarray]:
        """Position in `sets` -> flat indices of its voxels, int32; only drawn labels that occur."""

    @property
    def voxels_per_set(self) -> list[tuple[int, int]]:
        """Position in `sets` and number of its voxels, of all sets."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z)."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel sizes."""

    @property
    def mirror_axis(self) -> int:
        """The axis of the arrays that runs most nearly from left to right."""

    def channels_or_none(self, modalities: Sequence[str]) -> list[int | None]:
        """Return the channel numbers of some modalities, None for those that the case does not have."""
