"""Making runs: build the store, train the networks, evaluate, collect.

Every product is made once, and made whole: a second call finds it, a killed one goes on.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from ..cohorts.loading import Case
from ..inference import Member, Model, load_network
from ..metrics import METRICS
from ..training import is_trained
from .plan import NetworkSpec, Run
from .study import Study

METRICS_COLUMNS = ("scenario", "model", "seed", "cohort", "case", "label", *METRICS)


# -- evaluation ------------------------------------------------------------------------------------------------


def is_finished(study: Study, run: Run) -> bool:
    """Whether a run is trained and evaluated."""
    return (study.run_folder(run) / "run.json").exists()


def state(study: Study, run: Run) -> str:
    """Return ``finished``, ``begun`` (a network or a checkpoint is there) or ``missing``."""
    if is_finished(study, run):
        return "finished"
    folders = [study.network_folder(network) for network in study.networks([run])]
    return "begun" if any(is_trained(f) or (f / "checkpoint.pt").exists() for f in folders) else "missing"


def load_member(study: Study, network: NetworkSpec) -> Member:
    """Read a trained network."""
    weights = torch.load(study.network_folder(network) / "model.pt", map_location="cpu", weights_only=True)
    spec = dict(study.params.network)
    built = load_network(spec, weights, len(network.modalities), 1 + len(network.labels))
    return Member(built, spec, network.labels, network.modalities)


def load_model(study: Study, run: Run) -> Model:
    """Put the trained networks of a run together."""
    members = [load_member(study, network) for network in run.networks]
    return Model(members, study.scenario_labels(run.scenario), study.params.preprocessing)


def _history(study: Study, run: Run) -> pd.DataFrame:
    parts = []
    for network in run.networks:
        table = pd.read_csv(study.network_folder(network) / "history.csv")
        table.insert(0, "network", "+".join(network.labels))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def read_metrics(path: Path) -> pd.DataFrame:
    """Read a table of metrics; names stay texts, also names such as 007 or NA."""
    names = dict.fromkeys(("scenario", "model", "cohort", "case", "label"), str)
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""])


def load_prediction(study: Study, run: Run, case: Case) -> np.ndarray:
    """Return a finished run's prediction of a test or validation case, (X, Y, Z) uint8 on the grid of the store."""
    path = study.run_folder(run) / "predictions" / case.cohort / f"{case.name}.nii.gz"
    return np.asarray(nib.load(path).dataobj)
