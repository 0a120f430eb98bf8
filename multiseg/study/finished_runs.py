"""Reading what `runs` has made: trained networks, metrics, histories, predictions. Nothing here writes."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
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
    if run.asks:  # one network, asked task by task
        members = [replace(members[0], **ask._asdict()) for ask in run.asks]
    maskless = [case for case in run.test_cases if case.brain_mask is None]
    return Segmenter(
        members,
        run.labels,
        asdict(params.preprocessing),
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
    parts = []
    for network in run.networks:
        table = pd.read_csv(network.folder / "history.csv")
        table.insert(0, "network", "+".join(network.labels))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def history(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the training histories of finished runs with ``model``, ``replicate`` and ``seed``."""
    parts = []
    for run in runs:
        table = pd.read_csv(run.folder / "history.csv")
        table.insert(0, "model", run.model)
        table.insert(1, "replicate", run.replicate)
        table.insert(2, "seed", run.seed)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


# -- results -----------------------------------------------------------------------------------------------------


def metrics(study: Study) -> pd.DataFrame:
    """Return the metrics of all finished runs of a study on their test cases. Raises `UserError` if there is none."""
    tables = [read_metrics(run.folder / "metrics.csv") for run in study.runs if is_finished(run)]
    if not tables:
        raise UserError(f"{study.params_file}: no run is finished yet")
    return pd.concat(tables, ignore_index=True)


def validation(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the metrics of finished runs on the validation cases of their training cohorts."""
    return pd.concat([read_metrics(run.folder / "validation.csv") for run in runs], ignore_index=True)


def single_tasks(runs: Iterable[Run]) -> pd.DataFrame:
    """Return what the network of each task reaches alone, on validation images of its own cohorts.

    These are the networks of runs with inputs of their own before they are merged: the performance on a single task
    that the thesis shows beside the models (figures 26, 29 and 34). Weights were chosen on the same images, so the
    numbers are a little too good.

    Returns
    -------
    pd.DataFrame
        The columns of ``metrics.csv``, with the model `SINGLE_TASK`. No rows for other runs.
    """
    files = [run.folder / "single_task.csv" for run in runs if run.has_own_inputs]
    parts = [read_metrics(file) for file in files]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(METRICS_COLUMNS))


def subsets(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the metrics of finished runs on test cases by the ``modalities`` that their networks were given.

    No rows for runs whose networks need all of theirs.
    """
    files = [run.folder / "subsets.csv" for run in runs]
    parts = [read_metrics(file) for file in files if file.exists()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*METRICS_COLUMNS, "modalities"])


def doubts(runs: Iterable[Run]) -> pd.DataFrame:
    """Return the voxels of test cases by uncertainty with ``scenario`` and ``model``, see `study.doubts`."""
    files = [(run, run.folder / "doubts.csv") for run in runs]
    parts = [
        pd.read_csv(f, dtype={"case": str}).assign(scenario=r.scenario, model=r.model) for r, f in files if f.exists()
    ]
    columns = ["bin", "voxels", "wrong", "case", "scenario", "model"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


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
    path = run.folder / "predictions" / case.cohort / f"{case.name}.nii.gz"
    return np.asarray(cast(nib.Nifti1Image, nib.load(path)).dataobj)


DOUBT_STEPS = 16
"""An uncertainty is kept in sixteenths."""


def doubt(run: Run, case: Case) -> np.ndarray | None:
    """Return how uncertain a finished run was of each voxel of a test case, (X, Y, Z) float, 0 to 1.

    On the grid of the store; None of later replicates, and where cases were scored on the grid of the store.
    """
    path = run.folder / "doubts" / case.cohort / f"{case.name}.nii.gz"
    return np.asarray(cast(nib.Nifti1Image, nib.load(path)).dataobj) if path.exists() else None
