"""Reading what `runs` has made: trained networks, metrics, histories, predictions. Nothing here writes."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from multiseg_core.errors import UserError
from multiseg_core.inference import Member, Segmenter, load_network
from multiseg_core.metrics import METRICS
from multiseg_core.settings import swaps
from multiseg_core.training import is_trained

from ..data.brain_masks import brain_modality
from ..data.cohorts import Case
from ..data.target_sets import native_codes
from ..settings.params import Params
from .plan import NetworkPlan, Run, networks_of

if TYPE_CHECKING:
    from .study import Study

KEY_COLUMNS = ("scenario", "model", "replicate", "seed", "cohort", "subject", "case", "label", "grid")
METRICS_COLUMNS = (*KEY_COLUMNS, *METRICS)

UNCERTAINTY_STEPS = 16
"""An uncertainty is written in sixteenths."""


def is_finished(run: Run) -> bool:
    """Whether a run is trained and evaluated."""
    return (run.folder / "run.json").exists()


def state(run: Run) -> str:
    """Return ``finished``, ``begun`` (a network or a checkpoint is there) or ``missing``."""
    if is_finished(run):
        return "finished"
    folders = [network.folder for network in networks_of([run])]
    return "begun" if any(is_trained(f) or (f / "checkpoint.pt").exists() for f in folders) else "missing"


# -- networks ----------------------------------------------------------------------------------------------------


def load_member(network: NetworkPlan, mirrored: bool = False, views: int = 1) -> Member:
    """Read a trained network, which may be asked for mirror images too if it learned from them, and for other views."""
    weights = torch.load(network.folder / "model.pt", map_location="cpu", weights_only=True)
    spec = dict(network.network)
    built = load_network(spec, weights, len(network.modalities), 1 + len(network.labels))
    mirror = None
    if mirrored and network_facts([network])[0]["flip"]["mirrored"]:
        places = swaps(network.training)
        mirror = (0, *(1 + network.labels.index(places.get(label, label)) for label in network.labels))
    patch = tuple(network.training.patch_size)
    return Member(built, spec, network.labels, network.modalities, mirror=mirror, views=views, at_least=patch)


def load_segmenter(run: Run, params: Params) -> Segmenter:
    """Put the trained networks of a run together, with all that a prediction must do as the run does it."""
    members = [load_member(network, params.inference.mirrored, params.inference.views) for network in run.networks]
    if run.questions:  # to one network, task by task
        members = [replace(members[0], **question._asdict()) for question in run.questions]
    maskless = [case for case in run.test_cases if case.brain_mask is None]
    return Segmenter(
        members,
        run.labels,
        params.preprocessing.model_dump(),
        params.inference.clip_to_brain,
        params.precision,
        brain_modality(maskless[0].images) if maskless else "",
        native_codes([cohort.code_map for cohort in run.cohorts.values()], run.labels),
    )


def network_facts(networks: Iterable[NetworkPlan]) -> list[dict[str, Any]]:
    """Return what is written of those networks that are trained: settings, seconds, provenance."""
    files = [network.folder / "network.json" for network in networks]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def network_histories(run: Run) -> pd.DataFrame:
    """Return the losses of all networks of a run by step, with ``network``: the labels that it learns."""
    return _histories({("+".join(n.labels),): n.folder for n in run.networks}, "network")


def history(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the training histories of finished runs with ``model``, ``replicate`` and ``seed``."""
    return _histories({(r.model, r.replicate, r.seed): r.folder for r in runs}, "model", "replicate", "seed")


def _histories(folders: Mapping[tuple[str | int, ...], Path], *names: str) -> pd.DataFrame:
    tables = [pd.read_csv(folder / "history.csv") for folder in folders.values()]
    return pd.concat(tables, keys=folders, names=names).reset_index([*names]).reset_index(drop=True)


# -- results -----------------------------------------------------------------------------------------------------


def metrics(study: Study) -> pd.DataFrame:
    """Return the metrics of all finished runs of a study on their test cases. Raises `UserError` if there is none."""
    runs = [run for run in study.runs if is_finished(run)]
    if not runs:
        raise UserError(f"{study.params_file}: no run is finished yet")
    return _tables(runs, "metrics")


def validation(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the metrics of finished runs on the validation cases of their training cohorts."""
    return _tables(runs, "validation")


def single_tasks(runs: Iterable[Run]) -> pd.DataFrame:
    """Return what the network of each task reaches alone, on validation images of its own cohorts.

    These are the networks of runs with inputs of their own before they are merged: the performance on a single task
    that the thesis shows beside the models (figures 26, 29 and 34). Weights were chosen on the same images, so the
    numbers are a little too good. No rows for other runs; the model is `SINGLE_TASK`.
    """
    return _tables([run for run in runs if run.has_own_inputs], "single_task")


def subsets(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the metrics of finished runs on test cases by the ``modalities`` that their networks were given.

    No rows for runs whose networks need all of theirs.
    """
    return _tables(runs, "subsets", "modalities")


def uncertainty_counts(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the voxels of test cases by uncertainty with ``scenario`` and ``model``, see `study.uncertainty`."""
    runs = [run for run in runs if (run.folder / "doubts.csv").exists()]
    parts = [read_metrics(r.folder / "doubts.csv").assign(scenario=r.scenario, model=r.model) for r in runs]
    columns = ["bin", "voxels", "wrong", "case", "scenario", "model"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _tables(runs: Iterable[Run], name: str, *columns: str) -> pd.DataFrame:
    """Return the tables of metrics that finished runs have, one below another, with `columns` where there is none."""
    files = [run.folder / f"{name}.csv" for run in runs]
    parts = [read_metrics(file) for file in files if file.exists()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*METRICS_COLUMNS, *columns])


def read_metrics(path: Path) -> pd.DataFrame:
    """Read a table of metrics; names stay texts, also names such as 007 or NA."""
    found = path.stat()  # pages read the tables of all runs many times
    return _metrics_of(path, found.st_ino, found.st_mtime_ns, found.st_size).copy()


@functools.cache
def _metrics_of(path: Path, *version: int) -> pd.DataFrame:
    names = dict.fromkeys(("scenario", "model", "cohort", "subject", "case", "label", "grid"), str)
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""])


def prediction(run: Run, case: Case) -> np.ndarray:
    """Return a finished run's prediction of a test or validation case, (X, Y, Z) uint8 on the grid of the store."""
    return _volume(run.folder / "predictions" / case.cohort / f"{case.name}.nii.gz")


def uncertainty(run: Run, case: Case) -> np.ndarray | None:
    """Return how uncertain a finished run was of each voxel of a test case, (X, Y, Z) float, 0 to 1.

    On the grid of the store; None of later replicates, and where cases were scored on the grid of the store.
    """
    path = run.folder / "doubts" / case.cohort / f"{case.name}.nii.gz"
    return _volume(path) if path.exists() else None


def _volume(path: Path) -> np.ndarray:
    return np.asarray(cast(nib.Nifti1Image, nib.load(path)).dataobj)
