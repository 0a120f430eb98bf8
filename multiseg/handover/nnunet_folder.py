"""The training cases of a study as an nnU-Net folder, with what was not drawn filled in by a run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from multiseg_core.compute import Compute
from multiseg_core.errors import UserError
from multiseg_core.files import atomic_path, write_json
from multiseg_core.grids import voxel_ml
from multiseg_core.labels import BACKGROUND, LabelSet, LabelSpace

from ..base.files import atomic_folder, write_table
from ..data.cohorts import Case, Cohort
from ..data.image_files import like_input, read_image, read_volume, require_same_grid
from ..study.prediction import Model, for_each_case
from ..study.study import Study
from .finished import Finished


@dataclass(frozen=True)
class Completion:
    """How drawn labels and a prediction become one label file."""

    table: np.ndarray
    """(S, 1 + L) uint8: position in a cohort's sets, number of the prediction -> code."""
    drawn: np.ndarray
    """(S,) bool: whether a position was drawn as one label, which stays."""

    @classmethod
    def of(cls, sets: Sequence[LabelSet], labels: Sequence[str]) -> Completion:
        """Return how the labels of a cohort are completed.

        What was drawn as one label stays. Where several are possible, the predicted one counts if it is among them. If
        it is not, it is background where that is possible, and else left out by nnU-Net's ignore label, code L + 1. So
        is what the cohort leaves out itself. Position 0 of `sets` is background's; label k of `labels` has code k + 1.
        """
        space, ignored = LabelSpace(tuple(labels)), len(labels) + 1
        possible = [space.restricted(members) for members in sets]
        table = np.zeros((len(sets), 1 + len(labels)), dtype=np.uint8)
        for at, names in enumerate(possible):
            if at > 0 and len(names) == space.n_classes:
                table[at] = ignored
            elif len(names) == 1:
                table[at] = space.classes.index(next(iter(names)))
            else:
                other = 0 if BACKGROUND in names else ignored
                table[at] = [code if name in names else other for code, name in enumerate(space.classes)]
        return cls(table, np.array([at > 0 and len(names) == 1 for at, names in enumerate(possible)], dtype=bool))


def write_nnunet(run: Finished, study: Study, folder: Path) -> list[str]:
    """Write the training and validation cases of a run's scenario as an nnU-Net folder, which does not exist yet.

    The run fills in what was not drawn. Beside ``imagesTr``, ``labelsTr`` and ``dataset.json``, ``splits_final.json``
    holds the study's own split, for those who copy it to where nnU-Net looks for it, and ``completed.csv`` what was
    drawn and what was filled in, in ml. Returns what is worth saying: the number of cases, and those that are left out.

    Raises
    ------
    UserError
        If the run is not one of the study, or no case can be written.
    """
    planned = study.find_run(str(run.facts.get("key", "")))
    scenario = study.replicates[planned.replicate - 1][planned.scenario]
    model = Model(run.segmenter, Compute.resolve(study.params.device, study.params.precision))
    split_of = {
        (case.cohort, case.name): split
        for trained, validated in scenario.parts.values()
        for split, cases in (("train", trained), ("val", validated))
        for case in cases
    }
    cases = [case for c in scenario.train for case in c.cases if (case.cohort, case.name) in split_of]
    completions = {c.name: Completion.of(c.code_map.sets, run.segmenter.labels) for c in scenario.train}
    with atomic_folder(folder) as part:
        (part / "imagesTr").mkdir()
        (part / "labelsTr").mkdir()
        done, errors = for_each_case(
            model, cases, lambda c: _write_case(model, c, scenario.cohorts[c.cohort], completions[c.cohort], part),
            "completing",
        )  # fmt: skip
        if not done:
            raise UserError("\n".join(["no case can be written", *errors]))
        splits: dict[str, list[str]] = {"train": [], "val": []}
        for case, (name, _) in done:
            splits[split_of[case.cohort, case.name]].append(name)
        table = pd.concat([t.assign(split=split_of[case.cohort, case.name]) for case, (_, t) in done])
        write_table(part / "completed.csv", table)
        write_json(part / "splits_final.json", [{split: sorted(names) for split, names in splits.items()}])
        write_json(part / "dataset.json", _description(run, len(done)))
    return [f"{len(done)} cases of {', '.join(scenario.parts)}", *(f"left out: {line}" for line in errors)]


def _description(run: Finished, n: int) -> Mapping[str, object]:
    labels = run.segmenter.labels
    numbered = {label: k for k, label in enumerate(labels, start=1)}
    return {
        "channel_names": {str(k): m for k, m in enumerate(run.segmenter.modalities)},
        "labels": {BACKGROUND: 0, **numbered, "ignore": len(labels) + 1},
        "numTraining": n,
        "file_ending": ".nii.gz",
        "name": run.title,
        "description": f"labels that were not drawn are filled in by run {run.facts.get('key', '')} of multiseg",
    }


def _write_case(model: Model, case: Case, cohort: Cohort, how: Completion, folder: Path) -> tuple[str, pd.DataFrame]:
    """Write a case; return its name, and ml drawn and filled in by label. Raises `UserError` if that cannot be."""
    lacking = [m for m in model.modalities if m not in case.images]
    if lacking:
        raise UserError(f"has no {', '.join(lacking)}")
    images = {m: case.images[m] for m in model.modalities}
    labels = {"labels": case.labels} if case.labels is not None else {}
    require_same_grid({**images, **labels})
    found = model.predict(case.images if model.segmenter.brain_from in case.images else images, case.brain_mask)
    positions = np.zeros(found.numbers.shape, dtype=np.uint8)
    if case.labels is not None:
        positions = cohort.code_map.translate(read_volume(case.labels, dtype=np.float64))
    codes = how.table[positions, found.numbers]
    name = re.sub(r"[^\w-]+", "-", f"{case.cohort}_{case.name}", flags=re.ASCII)
    for k, path in enumerate(images.values()):
        with atomic_path(folder / "imagesTr" / f"{name}_{k:04d}.nii.gz") as part:
            if path.name.endswith(".nii.gz") and len(nib.load(path).shape) == 3:  # type: ignore[attr-defined]
                shutil.copyfile(path, part)
            else:
                nib.save(nib.Nifti1Image(read_volume(path), read_image(path).affine), part)
    with atomic_path(folder / "labelsTr" / f"{name}.nii.gz") as part:
        nib.save(like_input(codes, found.prepared.native_grid.affine, next(iter(images.values()))), part)
    ml, drawn = voxel_ml(found.prepared.native_grid.affine), how.drawn[positions]
    rows = [
        (name, label, float((drawn & (codes == k)).sum() * ml), float((~drawn & (codes == k)).sum() * ml))
        for k, label in enumerate(model.labels, start=1)
    ]
    return name, pd.DataFrame(rows, columns=["case", "label", "drawn_ml", "filled_ml"])
