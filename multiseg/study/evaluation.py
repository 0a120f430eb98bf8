"""Evaluating runs: what trained networks say of test and validation cases, and how good that is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import nibabel as nib
import numpy as np
import pandas as pd
import torch

from multiseg_core.compute import Compute
from multiseg_core.files import atomic_path, write_json
from multiseg_core.grids import Grid, voxel_ml, voxel_sizes
from multiseg_core.inference import Segmenter, uncertainty
from multiseg_core.labels import BACKGROUND
from multiseg_core.metrics import label_metrics
from multiseg_core.resampling import most_probable_on

from ..base.files import write_table
from ..base.provenance import provenance
from ..base.workers import Report, no_report
from ..data.cohorts import Case
from ..data.store import Store, StoredCase
from ..settings.models import SINGLE_TASK
from ..settings.params import Params
from . import finished_runs
from .finished_runs import METRICS_COLUMNS, UNCERTAINTY_STEPS, is_finished
from .plan import Run
from .uncertainty import allowed_classes, count_by_uncertainty

Metrics = dict[str, dict[str, float]]
"""Label -> metric -> value."""


@dataclass(frozen=True)
class Evaluated:
    """What a run says of a case, and how good that is."""

    prediction: np.ndarray  # (X, Y, Z) uint8 class numbers on the grid of the store
    metrics: Metrics  # of all labels
    alone: dict[int, Metrics]  # number of a network -> of its own labels without the other networks, where asked for
    uncertainty: np.ndarray | None = None  # (X, Y, Z) float32, 0 to 1, like `prediction`; None if scored on its grid
    counts: pd.DataFrame | None = None  # see `uncertainty.count_by_uncertainty`; None where there is no uncertainty


@dataclass(frozen=True)
class Evaluator:
    """Evaluates stored cases with the networks of a run; those that need a modality that a case lacks are left out."""

    segmenter: Segmenter
    params: Params
    compute: Compute

    def evaluate(self, case: StoredCase, alone: Collection[int] = (), given: Sequence[str] | None = None) -> Evaluated:
        """Segment a case and measure the result against its labels, on the grid that the params' ``inference`` says.

        `alone`: numbers of the networks to measure as well without the others. `given`: the modalities of the case that
        the networks get; all of them by default.
        """
        modalities = case.modalities if given is None else tuple(given)
        seeing, images = self.segmenter.seeing(modalities), np.asarray(case.images)[case.channels(modalities)]
        volume = (images, modalities, self.compute, self.params.inference.memory_gib, case.mask)
        unsure, counts = None, None
        if self.params.inference.scored_on == "native":
            native, here = case.native, Grid(case.shape, case.affine)
            target, size, ml = native.target, voxel_sizes(native.affine), voxel_ml(native.affine)
            probabilities = list(seeing.probabilities(*volume))
            prediction = seeing.merged([p.argmax(0).astype(np.uint8) for p in probabilities])
            maps = [most_probable_on(p, here, native.grid) for p in probabilities]
            unsure = uncertainty(probabilities)
            allowed = allowed_classes(list(case.sets), self.segmenter.labels, BACKGROUND)
            counts = count_by_uncertainty(unsure, ~allowed[case.target, prediction], np.asarray(case.mask))
        else:
            target, size, ml = case.target, np.asarray(case.spacing_mm), case.voxel_ml
            maps = seeing.class_maps(*volume)
            prediction = seeing.merged(maps)

        def measured(said: np.ndarray, labels: tuple[str, ...]) -> Metrics:
            return label_metrics(target, said, case.sets, labels, size.tolist(), ml)

        # a network that is asked for alone sees its own cohort's cases, so it is among those that see this one
        of_member = {id(member): class_map for member, class_map in zip(seeing.members, maps, strict=True)}
        members = [(n, self.segmenter.members[n]) for n in alone]
        metrics_alone = {n: measured(of_member[id(member)], member.labels) for n, member in members}
        metrics = measured(seeing.merged(maps), self.segmenter.labels)
        return Evaluated(prediction, metrics, metrics_alone, unsure, counts)


def evaluate_run(run: Run, store: Store, params: Params, report: Report = no_report) -> Path:
    """Evaluate a trained run on its test cohort and on the validation cases of its training cohorts.

    Writes into its folder: ``metrics.csv`` (test cases), ``validation.csv`` (validation cases), ``single_task.csv``
    (each of several networks alone, on the validation cases of its own cohorts), ``doubts.csv`` (voxels of test cases
    by uncertainty, see `study.uncertainty`), ``doubts/`` (the uncertainty itself, of the first replicate, which pages
    show), ``subsets.csv`` (test cases with every subset of their modalities, of a network that reads any),
    ``predictions/`` (class numbers on the grid of the store), ``model.pt``, ``history.csv`` and, last, ``run.json``.
    """
    report(0, "starting")
    run.folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(run.folder / ".lock"):
        if is_finished(run):
            return run.folder
        started = time.perf_counter()
        torch.set_num_threads(params.threads)
        compute = Compute.resolve(params.device, params.precision)
        evaluator = Evaluator(finished_runs.load_segmenter(run, params), params, compute)
        for name, table in _evaluated(run, store, evaluator, report).items():
            write_table(run.folder / f"{name}.csv", table)
        write_table(run.folder / "history.csv", finished_runs.network_histories(run))
        evaluator.segmenter.save(run.folder / "model.pt")
        facts = {name: getattr(run, name) for name in ("key", "scenario", "model", "replicate", "seed", "labels")}
        facts["networks"] = [network.key for network in run.networks]
        facts |= {"evaluation_seconds": time.perf_counter() - started, "provenance": provenance(compute.device)}
        write_json(run.folder / "run.json", facts)
    return run.folder


def _evaluated(run: Run, store: Store, evaluator: Evaluator, report: Report) -> dict[str, pd.DataFrame]:
    """Write what the networks of a run say of its cases; return its tables of metrics by the names of their files."""
    tested, validated, counts = [], [], []
    alone: list[list[dict[str, Any]]] = [[] for _ in run.networks]
    cases = {(case.cohort, case.name): case for case in run.cases}  # a case may be there twice
    for i, case in enumerate(cases.values()):
        report(i / len(cases), f"evaluating {case.name}")
        stored = store.opened(case, run.cohorts[case.cohort])
        found = evaluator.evaluate(stored, _networks_of_its_own(run, case))
        _save(run.folder / "predictions", stored, nib.Nifti1Image(found.prediction, stored.affine))
        rows = _rows(run, case, found.metrics, evaluator)
        validated += rows if case in run.validation_cases else []
        for n, own in found.alone.items():
            alone[n] += [{**row, "model": SINGLE_TASK} for row in _rows(run, case, own, evaluator)]
        if case not in run.test_cases:
            continue
        tested += rows
        if found.counts is not None and found.uncertainty is not None:
            counts.append(found.counts.assign(case=case.name))
            if run.replicate == 1:
                _save(run.folder / "doubts", stored, _in_steps(found.uncertainty, stored.affine))
    columns = list(METRICS_COLUMNS)
    tables = {"metrics": pd.DataFrame(tested, columns=columns), "validation": pd.DataFrame(validated, columns=columns)}
    if any(member.reads_any for member in evaluator.segmenter.members):
        tables["subsets"] = _by_modalities(run, store, evaluator)
    if len(run.networks) > 1:
        tables["single_task"] = pd.DataFrame([*itertools.chain.from_iterable(alone)], columns=columns)
    if counts:
        tables["doubts"] = pd.concat(counts, ignore_index=True)
    return tables


def _by_modalities(run: Run, store: Store, evaluator: Evaluator) -> pd.DataFrame:
    """Evaluate test cases with every subset of their modalities: the columns of ``metrics.csv`` and ``modalities``."""
    rows = []
    for case in run.test_cases:
        stored = store.opened(case, run.cohorts[case.cohort])
        has = [m for m in evaluator.segmenter.modalities if m in stored.modalities]
        for given in (given for n in range(1, 1 + len(has)) for given in itertools.combinations(has, n)):
            metrics = evaluator.evaluate(stored, given=given).metrics
            rows += [{**row, "modalities": "+".join(given)} for row in _rows(run, case, metrics, evaluator)]
    return pd.DataFrame(rows, columns=[*METRICS_COLUMNS, "modalities"])


def _rows(run: Run, case: Case, metrics: Metrics, evaluator: Evaluator) -> list[Mapping[str, Any]]:
    """Return rows of `METRICS_COLUMNS`."""
    of = {"scenario": run.scenario, "model": run.model, "replicate": run.replicate, "seed": run.seed}
    of |= {"cohort": case.cohort, "subject": case.subject or case.name, "case": case.name}
    of["grid"] = evaluator.params.inference.scored_on
    return [{**of, "label": label, **values} for label, values in metrics.items()]


def _networks_of_its_own(run: Run, case: Case) -> list[int]:
    """Return the numbers of those networks of a run of several that a case validated."""
    own = [n for n, network in enumerate(run.networks) if any(case in p.validation for p in network.cohorts)]
    return own if len(run.networks) > 1 else []


def _in_steps(uncertain: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """Return an uncertainty in steps that the eye can tell, which take little space."""
    image = nib.Nifti1Image(np.round(uncertain * UNCERTAINTY_STEPS).astype(np.uint8), affine)
    image.header.set_slope_inter(1 / UNCERTAINTY_STEPS, 0)
    return image


def _save(folder: Path, stored: StoredCase, image: nib.Nifti1Image) -> None:
    with atomic_path(folder / stored.cohort / f"{stored.name}.nii.gz") as part:
        nib.save(image, part)
