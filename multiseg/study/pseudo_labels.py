"""Pseudo-labels: what other networks see in the background of a cohort, taken for drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from multiseg_core.compute import Compute
from multiseg_core.files import write_json
from multiseg_core.inference import Member, Segmenter
from multiseg_core.labels import LabelSet

from ..base.files import atomic_folder
from ..data.store import StoredCase, write_labels
from ..data.target_sets import completed_sets
from ..settings.params import Params


def complete_target(
    target: np.ndarray,
    sets: Sequence[LabelSet],
    labels: Sequence[str],
    seen: Sequence[tuple[Sequence[str], np.ndarray]],
) -> np.ndarray:
    """Fill the background of a target with what networks saw there.

    Parameters
    ----------
    target
        (X, Y, Z) uint8 positions in `sets`; 0 is background.
    sets
        Label sets of the cohort. Only labels that may hide in its background are filled in.
    labels
        Foreground labels of the scenario.
    seen
        For each network in order of rising priority: its foreground labels and its class map, shaped like `target`.

    Returns
    -------
    np.ndarray
        (X, Y, Z) uint8 positions in `completed_sets`. What was drawn or ignored stays.
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


def complete_case(
    folder: Path, case: StoredCase, labels: Sequence[str], teachers: Sequence[Member], params: Params, compute: Compute
) -> None:
    """Write the completed labels of a case into a folder of their own, whole or not at all, unless they are there.

    Parameters
    ----------
    folder
        Where to; `StoredCase.relabelled` reads it.
    case
        The case as stored.
    labels
        Foreground labels of the scenario.
    teachers
        Networks in order of rising priority; those that know no label that may hide in the background are not asked.
    params, compute
        Of the study; where to compute.
    """
    if folder.exists():
        return
    seen = []
    for teacher in teachers:
        if set(teacher.labels) & case.sets[0]:
            model = Segmenter([teacher], teacher.labels, asdict(params.preprocessing), params.inference.clip_to_brain)
            images, memory = np.asarray(case.images), params.inference.memory_gib
            class_map = model.segment(images, case.modalities, compute, memory, case.mask)
            seen.append((teacher.labels, class_map))
    target = complete_target(np.asarray(case.target), case.sets, labels, seen)
    with atomic_folder(folder) as part:
        write_json(part / "labels.json", write_labels(part, target, completed_sets(case.sets, labels)))
