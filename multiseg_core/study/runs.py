"""Making runs: build the store, train the networks, evaluate, collect.

Every product is made once, and made whole: a second call finds it, a killed one goes on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import filelock
import nibabel as nib
import numpy as np
import pandas as pd
import torch

from ..cohorts.loading import Case
from ..labels import LabelSpace
from ..metrics import label_metrics
from ..preprocessing.store import StoredCase
from ..training import Trainer, TrainingData, is_trained
from ..utils.compute import Compute
from ..utils.errors import UserError
from ..utils.files import atomic_path, remove_leftovers, write_json, write_table
from ..utils.provenance import provenance
from ..utils.workers import Job, Report, run_jobs
from .finished_runs import METRICS_COLUMNS, _history, is_finished, load_member, load_model, read_metrics
from .plan import NetworkSpec, Run
from .pseudo_labels import complete_case
from .study import Study, default_workers


@functools.lru_cache(maxsize=2)
def _study(params_file: str) -> Study:
    """Load a study once per worker process."""
    return Study(params_file)


def _no_report(fraction: float, text: str) -> None:
    """Report to nobody."""


# -- store -----------------------------------------------------------------------------------------------------


def prepare_study(study: Study, cases: Sequence[Case] | None = None, workers: int | None = None) -> int:
    """Build the store of a study, or of some of its cases, in parallel. Return how many were missing."""
    cases = study.needed_cases() if cases is None else cases
    # a generated case whose files are gone is still in the store; nothing to do
    missing = [case for case in cases if not study.store.path(case, study.cohorts[case.cohort]).exists()]
    jobs = [
        Job(f"{case.cohort}/{case.name}", _build_job, (str(study.params_file), case.cohort, case.name))
        for case in missing
    ]
    if missing:
        remove_leftovers(study.store.folder)
    run_jobs(jobs, "preparing cases", workers or default_workers(study.params, "cpu"))
    return len(missing)


def _build_job(params_file: str, cohort: str, name: str, report: Report) -> None:
    report(0, "…")
    study = _study(params_file)
    torch.set_num_threads(1)
    case = next(case for case in study.cohorts[cohort].cases if case.name == name)
    study.store.build(case, study.cohorts[cohort])


# -- training --------------------------------------------------------------------------------------------------


def train_network(study: Study, network: NetworkSpec, report: Report = _no_report) -> Path:
    """Train a network unless it is trained, its teachers first; return its folder."""
    folder = study.network_folder(network)
    if is_trained(folder):
        return folder
    for teacher in network.teachers:
        train_network(study, teacher, report)
    torch.set_num_threads(study.params.threads)
    compute = Compute.resolve(study.params.device, study.params.precision)
    space = study.label_space(network)
    complete_labels(study, network, compute, report)
    trainer = Trainer(
        folder,
        [training_data(study, cohort, network, space) for cohort in network.cohorts],
        space,
        network.loss,
        study.params.network,
        study.params.training,
        network.seed,
        compute,
        {**asdict(network), "network": study.params.network, "training": asdict(study.params.training)},
        study.params.preprocessing.outside_value,
        network.uniform_sampling,
    )
    trainer.run(lambda step, steps, loss: report(step / steps, f"step {step}/{steps}"))
    return folder


def complete_labels(study: Study, network: NetworkSpec, compute: Compute, report: Report = _no_report) -> None:
    """Let the trained teachers of a network complete the labels of its cases; those that are complete stay."""
    if not network.teachers:
        return
    teachers = [load_member(study, teacher) for teacher in network.teachers]
    cases = [
        (name, case)
        for name in network.cohorts
        for part in study.split(name, network.validation_fraction)
        for case in part
    ]
    for i, (name, case) in enumerate(cases):
        report(0, f"completing labels {i}/{len(cases)}")
        stored = study.store.open(case, study.cohorts[name])
        complete_case(
            _completed_folder(study, network, stored),
            stored,
            network.labels,
            teachers,
            study.params.preprocessing,
            compute,
            study.params.inference.memory_gib,
        )


def _completed_folder(study: Study, network: NetworkSpec, case: StoredCase) -> Path:
    return study.network_folder(network) / "completed" / f"{case.cohort}-{case.name}"


def training_data(study: Study, cohort_name: str, network: NetworkSpec, space: LabelSpace) -> TrainingData:
    cohort = study.cohorts[cohort_name]
    split = study.split(cohort_name, network.validation_fraction)
    train, validation = ([study.store.open(case, cohort) for case in part] for part in split)
    if network.complete:
        train, validation = ([case.completed() for case in part] for part in (train, validation))
    if network.teachers:
        train, validation = (
            [case.relabelled(_completed_folder(study, network, case)) for case in part] for part in (train, validation)
        )
    lookup = space.lookup(study.sets(network, cohort_name), naive=network.naive)
    return TrainingData(train, validation, lookup, train[0].channels(network.modalities))


def _train_job(params_file: str, key: str, report: Report) -> None:
    report(0, "starting")
    study = _study(params_file)
    network = next(n for n in study.networks(study.runs) if n.key == key)
    train_network(study, network, report)


def evaluate_run(study: Study, run: Run, report: Report = _no_report) -> Path:
    """Evaluate a trained run on its test cohort and on the validation cases of its training cohorts.

    A validation case that lacks a modality of some of MultiUNet's networks is segmented by the others.

    Writes into the run's folder: ``metrics.csv`` (test cases), ``validation.csv`` (validation cases), ``predictions/``
    (class numbers on the grid of the store), ``model.pt``, ``history.csv`` and, last, ``run.json``.
    """
    folder = study.run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lock"):
        if is_finished(study, run):
            return folder
        started = time.perf_counter()
        torch.set_num_threads(study.params.threads)
        compute = Compute.resolve(study.params.device, study.params.precision)
        model = load_model(study, run)
        parts = {"metrics": study.test_cases(run.scenario), "validation": study.validation_cases(run.scenario)}
        rows: dict[str, list[dict[str, object]]] = {name: [] for name in parts}
        # a case may be both, see `Study.test_cases`
        cases = {(case.cohort, case.name): case for part in parts.values() for case in part}
        for i, case in enumerate(cases.values()):
            report(i / len(cases), f"evaluating {case.name}")
            stored = study.store.open(case, study.cohorts[case.cohort])
            memory = study.params.inference.memory_gib
            prediction = model.seeing(stored.modalities).segment(
                np.asarray(stored.images), stored.modalities, compute, memory
            )
            _save_prediction(folder, stored, prediction)
            for label, values in label_metrics(
                stored.target, prediction, stored.sets, model.labels, stored.spacing_mm
            ).items():
                place = (run.scenario, run.model, run.seed, case.cohort, case.name, label)
                row = dict(zip(METRICS_COLUMNS, (*place, *values.values()), strict=True))
                for name, part in parts.items():
                    rows[name] += [row] if case in part else []
        for name, table in rows.items():
            write_table(folder / f"{name}.csv", pd.DataFrame(table, columns=list(METRICS_COLUMNS)))
        write_table(folder / "history.csv", _history(study, run))
        model.save(folder / "model.pt")
        info = {
            **asdict(run),
            "labels": model.labels,
            "evaluation_seconds": time.perf_counter() - started,
            "provenance": provenance(compute.device),
        }
        write_json(folder / "run.json", info)
    return folder


def _save_prediction(folder: Path, stored: StoredCase, prediction: np.ndarray) -> None:
    path = folder / "predictions" / stored.cohort / f"{stored.name}.nii.gz"
    with atomic_path(path) as part:
        nib.save(nib.Nifti1Image(prediction, stored.affine), part)


def _evaluate_job(params_file: str, name: str, report: Report) -> None:
    report(0, "starting")
    study = _study(params_file)
    evaluate_run(study, study.find_run(name), report)


# -- all of it -------------------------------------------------------------------------------------------------


def training_rounds(study: Study, runs: Sequence[Run]) -> list[list[NetworkSpec]]:
    """Return the networks that some runs still need, in rounds: teachers come before those that learn from them."""
    untrained = {n.key for n in study.networks(list(runs)) if not is_trained(study.network_folder(n))}
    roots = [n for run in runs for n in run.networks if n.key in untrained]
    needed = {n.key for root in roots for n in (*root.teachers, root)} & untrained
    networks = [n for n in study.networks(list(runs)) if n.key in needed]
    first = [n for n in networks if not n.teachers]
    return [part for part in (first, [n for n in networks if n.teachers]) if part]


def finish_runs(study: Study, runs: Sequence[Run] | None = None) -> None:
    """Train and evaluate what is missing of some runs (default: all), in parallel.

    Raises
    ------
    UserError
        As raised by a worker; everything finished before stays.
    """
    runs = study.runs if runs is None else list(runs)
    missing = [run for run in runs if not is_finished(study, run)]
    if missing:
        remove_leftovers(study.folder)
        compute = Compute.resolve(study.params.device, study.params.precision)
        workers = default_workers(study.params, compute.device.type)
        prepare_study(study, study.needed_cases(list(dict.fromkeys(run.scenario for run in missing))))
        file = str(study.params_file)
        for networks in training_rounds(study, missing):
            run_jobs([Job(n.name, _train_job, (file, n.key)) for n in networks], "training networks", workers)
        run_jobs([Job(run.name, _evaluate_job, (file, run.name)) for run in missing], "evaluating runs", workers)
    collect_metrics(study)


def collect_metrics(study: Study) -> pd.DataFrame:
    """Gather the metrics of all finished runs of a study into its ``metrics.csv`` and return them."""
    tables = [read_metrics(study.run_folder(run) / "metrics.csv") for run in study.runs if is_finished(study, run)]
    if not tables:
        raise UserError(f"{study.params_file}: no run is finished yet")
    table = pd.concat(tables, ignore_index=True)
    write_table(study.folder / "metrics.csv", table)
    return table
