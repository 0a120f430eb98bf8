"""A finished run as it is handed over: its networks, and what is known of them."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiseg_core.errors import UserError
from multiseg_core.inference import Segmenter
from multiseg_core.tiling import Filling

from ..data.brain_masks import brain_modality
from ..study.finished_runs import read_metrics
from .bundle_steps import Networks, describe


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, its networks and the content of its ``run.json``."""

    folder: Path
    segmenter: Segmenter
    facts: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Finished:
        """Open a run. Raises `UserError` if it is not finished."""
        segmenter = Segmenter.load(folder / "model.pt")
        try:
            facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{folder / 'run.json'}: no such file, or not readable; is the run finished?") from None
        return cls(folder, segmenter, facts)

    @functools.cached_property
    def networks(self) -> Networks:
        """Its networks as one, with their weights."""
        networks = Networks(describe(self.segmenter))
        for own, member in zip(networks.networks, self.segmenter.members, strict=True):
            own.load_state_dict(member.network.state_dict())
        return networks.eval()

    @property
    def title(self) -> str:
        """Its scenario and model."""
        return f"{self.facts.get('scenario', '')} {self.facts.get('model', '')}".strip().replace("_", " ")

    @property
    def needs_all(self) -> bool:
        """Whether some network cannot do without some modality."""
        return not all(member.reads_any for member in self.segmenter.members)

    @property
    def n_channels(self) -> int:
        """Channels of the output of `networks`."""
        return sum(1 + len(m.labels) for m in self.segmenter.members)

    @property
    def windows(self) -> list[int]:
        """What the networks pool over, along each axis."""
        return self._smallest(Filling())

    @property
    def multiple(self) -> list[int]:
        """What sizes of the networks' input must be multiples of."""
        return self._smallest(self.segmenter.filling)

    def _smallest(self, filling: Filling) -> list[int]:
        of_each = np.array([filling.size(m.network, (1, 1, 1)) for m in self.segmenter.members])
        return [int(n) for n in np.lcm.reduce(of_each, axis=0)]

    @property
    def shows_brain(self) -> str:
        """The modality on which brains are found, '' if they are not."""
        if not self.segmenter.filling.has_outside:
            return ""
        return self.segmenter.brain_from or brain_modality(self.segmenter.modalities)

    def results(self) -> pd.DataFrame:
        """Return the mean Dice on its test cases: ``cohort, label, cases, dice``; no rows if there are none."""
        file = self.folder / "metrics.csv"
        if not file.is_file():
            return pd.DataFrame(columns=["cohort", "label", "cases", "dice"])
        groups = read_metrics(file).dropna(subset="dice").groupby(["cohort", "label"], sort=False)
        return groups.agg(cases=("case", "nunique"), dice=("dice", "mean")).reset_index()


def version(package: str) -> str:
    """Return the version of an installed package, without what a build adds to it; '' if there is none."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""
