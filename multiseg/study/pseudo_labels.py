"""Pseudo-labels: what other networks see in the background of a cohort, taken for drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multiseg_core.compute import Compute
from multiseg_core.files import write_json
from multiseg_core.inference import Segmenter
from multiseg_core.labels import LabelSet

from ..base.files import atomic_folder
from ..base.workers import Report, no_report
from ..data.store import Store, StoredCase, write_labels
from ..data.target_sets import completed_sets
from ..settings.params import Params
from .finished_runs import load_member
from .plan import NetworkPlan


def complete_target(
    target: np.ndarray,
    sets: Sequence[LabelSet],
    labels: Sequence[str],
    seen: Sequence[tuple[Sequence[str], np.ndarray]],
) -> np.ndarray:
    """Fill the background of a target with what networks saw there; what was drawn or ignored stays.

    Parameters
    ----------
    target
        (X, Y, Z) uint8 positions in `sets`, those of the cohort; 0 is background. The result's are in `completed_sets`.
    sets, labels
        Only labels that may hide in the background of `sets` are filled in; all foreground labels of the scenario.
    seen
        For each network in order of rising priority: its foreground labels and its class map, shaped like `target`.
    """
    result = target.copy()
    background = target == 0
    places = completed_sets(sets, labels)
    for names, class_map in seen:
        for k, label in enumerate(names, start=1):
            if label in sets[0]:
                result[background & (class_map == k)] = places.index(frozenset([label]))
    return result


def completed_folder(network_folder: Path, case: StoredCase) -> Path:
    """Return where the completed labels of a case lie, in the folder of the network that learns from them."""
    return network_folder / "completed" / case.cohort / case.name


def complete_labels(
    network: NetworkPlan, store: Store, params: Params, compute: Compute, report: Report = no_report
) -> None:
    """Let the trained teachers of a network complete the labels of its cases, each in a folder of its own.

    A folder is whole or not there; `StoredCase.relabelled` reads it. Those that are there stay. Teachers that know no
    label that may hide in the background of a case are not asked.
    """
    inference, preprocessing = params.inference, params.preprocessing.model_dump()
    teachers = [Segmenter([load_member(t)], t.labels, preprocessing, inference.clip_to_brain) for t in network.teachers]
    cases = [(case, planned.cohort) for planned in network.cohorts for case in planned.cases] if teachers else []
    for i, (case, cohort) in enumerate(cases):
        report(0, f"completing labels {i}/{len(cases)}")
        stored = store.opened(case, cohort)
        folder = completed_folder(network.folder, stored)
        if folder.exists():
            continue
        volume = (np.asarray(stored.images), stored.modalities, compute, inference.memory_gib, stored.mask)
        seen = [(t.labels, t.segment(*volume)) for t in teachers if set(t.labels) & stored.sets[0]]
        target = complete_target(np.asarray(stored.target), stored.sets, network.labels, seen)
        with atomic_folder(folder) as part:
            write_json(part / "labels.json", write_labels(part, target, completed_sets(stored.sets, network.labels)))
