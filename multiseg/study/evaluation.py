"""Evaluating runs: what trained networks say of test and validation cases, and how good that is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from multiseg_core.metrics import METRICS, label_metrics
from multiseg_core.resampling import most_probable_on
from multiseg_core.settings import InferenceParams

from ..base.files import write_table
from ..base.provenance import provenance
from ..base.workers import Report, no_report
from ..data.cohorts import Case
from ..data.store import Store, StoredCase
from ..settings.models import SINGLE_TASK
from ..settings.params import Params
from . import finished_runs
from .doubts import allowed_classes, count_doubts
from .finished_runs import METRICS_COLUMNS, is_finished
from .plan import NetworkPlan, Run

Metrics = dict[str, dict[str, float]]
"""Label -> metric -> value."""


@dataclass(frozen=True)
class Evaluated:
    """What a run says of a case, and how good that is.

    Attributes
    ----------
    prediction
        (X, Y, Z) uint8 class numbers on the grid of the store.
    metrics
        Of all labels.
    alone
        For each network those of its own labels, none if not asked for.
    doubts
        See `study.doubts.count_doubts`; None where cases are scored on the grid of the store.
    doubt
        (X, Y, Z) float32, the uncertainty of each voxel, 0 to 1, on the grid of the store; None where `doubts` is.
    """

    prediction: np.ndarray
    metrics: Metrics
    alone: list[Metrics]
    doubts: pd.DataFrame | None
    doubt: np.ndarray | None


def evaluate_case(
    segmenter: Segmenter,
    case: StoredCase,
    compute: Compute,
    inference: InferenceParams,
    alone: Sequence[bool],
    given: Sequence[str] | None = None,
) -> Evaluated:
    """Segment a stored case and measure the result against its labels, on the grid that `inference` says.

    Parameters
    ----------
    segmenter
        The networks of a run. Those that need a modality that the case lacks are left out.
    case
        The case.
    compute, inference
        See `Segmenter.segment` and `InferenceParams`.
    alone
        For each network, whether to measure as well what it says without the others.
    given
        The modalities of the case that the networks get; all of them by default.
    """
    modalities = case.modalities if given is None else tuple(given)
    seeing, images = segmenter.seeing(modalities), np.asarray(case.images)[case.channels(modalities)]
    if inference.scored_on == "native":
        native = case.native
        grid, target, size, ml = native.grid, native.target, voxel_sizes(native.affine), voxel_ml(native.affine)
        here = Grid(case.shape, case.affine)
        probabilities = list(seeing.probabilities(images, modalities, compute, inference.memory_gib, case.mask))
        on_store = [p.argmax(0).astype(np.uint8) for p in probabilities]
        maps = [most_probable_on(p, here, grid) for p in probabilities]
        doubt = uncertainty(probabilities)
    else:
        target, size, ml = case.target, np.asarray(case.spacing_mm), case.voxel_ml
        doubt = None
        on_store = maps = seeing.class_maps(images, modalities, compute, inference.memory_gib, case.mask)
    # a network that is asked for alone sees its own cohort's cases, so it is among those that see this one
    of_member = {id(member): class_map for member, class_map in zip(seeing.members, maps, strict=True)}
    metrics_alone = [
        label_metrics(target, of_member[id(member)], case.sets, member.labels, size.tolist(), ml) if wanted else {}
        for member, wanted in zip(segmenter.members, alone, strict=True)
    ]
    metrics = label_metrics(target, seeing.merged(maps), case.sets, segmenter.labels, size.tolist(), ml)
    prediction, doubts = seeing.merged(on_store), None
    if doubt is not None:
        allowed = allowed_classes(list(case.sets), segmenter.labels, BACKGROUND)
        doubts = count_doubts(doubt, ~allowed[case.target, prediction], np.asarray(case.mask))
    return Evaluated(prediction, metrics, metrics_alone, doubts, doubt)


def evaluate_run(run: Run, store: Store, params: Params, report: Report = no_report) -> Path:
    """Evaluate a trained run on its test cohort and on the validation cases of its training cohorts.

    Writes into its folder: ``metrics.csv`` (test cases), ``validation.csv`` (validation cases), ``single_task.csv``
    (each of several networks alone, on the validation cases of its own cohorts), ``doubts.csv`` (voxels of test cases
    by uncertainty, see `study.doubts`), ``doubts/`` (the uncertainty itself, of the first replicate, which pages
    show), ``subsets.csv`` (test cases with every subset of their modalities, of a
    network that reads any), ``predictions/`` (class numbers on the grid of the store), ``model.pt``, ``history.csv``
    and, last, ``run.json``.
    """
    report(0, "starting")
    run.folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(run.folder / ".lock"):
        if is_finished(run):
            return run.folder
        started = time.perf_counter()
        torch.set_num_threads(params.threads)
        compute = Compute.resolve(params.device, params.precision)
        segmenter = finished_runs.load_segmenter(run, params)
        parts = {"metrics": run.test_cases, "validation": run.validation_cases}
        rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in parts}
        single: list[tuple[int, tuple[object, ...]]] = []
        doubts: list[pd.DataFrame] = []
        # a case may be both, see `scenarios.cases_to_test`
        cases = {(case.cohort, case.name): case for part in parts.values() for case in part}
        for i, case in enumerate(cases.values()):
            report(i / len(cases), f"evaluating {case.name}")
            stored = store.opened(case, run.cohorts[case.cohort])
            alone = [_is_own(network, case, run) for network in run.networks]
            alone += [False] * (len(segmenter.members) - len(alone))
            found_here = evaluate_case(segmenter, stored, compute, params.inference, alone)
            _save_prediction(run.folder, stored, found_here.prediction)
            if found_here.doubts is not None and case in run.test_cases:
                doubts.append(found_here.doubts.assign(case=case.name))
            if found_here.doubt is not None and case in run.test_cases and run.replicate == 1:
                _save_doubt(run.folder, stored, found_here.doubt)
            place = (run.replicate, run.seed, case.cohort, case.subject or case.name, case.name)
            grid = params.inference.scored_on
            found = [_row(run, run.model, place, label, grid, v) for label, v in found_here.metrics.items()]
            for name, part in parts.items():
                rows[name] += found if case in part else []
            for n, own in enumerate(found_here.alone):
                single += [(n, _row(run, SINGLE_TASK, place, label, grid, v)) for label, v in own.items()]
        if any(member.reads_any for member in segmenter.members):
            table = _by_modalities(run, store, segmenter, compute, params.inference)
            write_table(run.folder / "subsets.csv", table)
        for name, found in rows.items():
            write_table(run.folder / f"{name}.csv", pd.DataFrame(found, columns=list(METRICS_COLUMNS)))
        if len(run.networks) > 1:
            in_order = [row for _, row in sorted(single, key=lambda pair: pair[0])]
            write_table(run.folder / "single_task.csv", pd.DataFrame(in_order, columns=list(METRICS_COLUMNS)))
        if doubts:
            write_table(run.folder / "doubts.csv", pd.concat(doubts, ignore_index=True))
        write_table(run.folder / "history.csv", finished_runs.network_histories(run))
        segmenter.save(run.folder / "model.pt")
        facts = {
            "key": run.key, "scenario": run.scenario, "model": run.model, "replicate": run.replicate, "seed": run.seed,
            "labels": run.labels, "networks": [network.key for network in run.networks],
            "evaluation_seconds": time.perf_counter() - started, "provenance": provenance(compute.device),
        }  # fmt: skip
        write_json(run.folder / "run.json", facts)
    return run.folder


def _by_modalities(
    run: Run, store: Store, segmenter: Segmenter, compute: Compute, inference: InferenceParams
) -> pd.DataFrame:
    """Evaluate test cases with every subset of their modalities: the columns of ``metrics.csv`` and ``modalities``."""
    rows = []
    for case in run.test_cases:
        stored = store.opened(case, run.cohorts[case.cohort])
        has = [m for m in segmenter.modalities if m in stored.modalities]
        place = (run.replicate, run.seed, case.cohort, case.subject or case.name, case.name)
        for n in range(1, 1 + len(has)):
            for given in itertools.combinations(has, n):
                none_alone = [False] * len(segmenter.members)
                metrics = evaluate_case(segmenter, stored, compute, inference, none_alone, given).metrics
                rows += [
                    (*_row(run, run.model, place, label, inference.scored_on, v), "+".join(given))
                    for label, v in metrics.items()
                ]
    return pd.DataFrame(rows, columns=[*METRICS_COLUMNS, "modalities"])


def _row(
    run: Run, model: str, place: Sequence[object], label: str, grid: str, values: Mapping[str, float]
) -> tuple[object, ...]:
    """Return a row of `METRICS_COLUMNS`."""
    return (run.scenario, model, *place, label, grid, *(values[name] for name in METRICS))


def _is_own(network: NetworkPlan, case: Case, run: Run) -> bool:
    """Whether a case validated a network of a run that has several."""
    own = [planned for planned in network.cohorts if planned.cohort.name == case.cohort]
    return len(run.networks) > 1 and any(case in planned.validation for planned in own)


def _save_prediction(folder: Path, stored: StoredCase, prediction: np.ndarray) -> None:
    path = folder / "predictions" / stored.cohort / f"{stored.name}.nii.gz"
    with atomic_path(path) as part:
        nib.save(nib.Nifti1Image(prediction, stored.affine), part)


def _save_doubt(folder: Path, stored: StoredCase, doubt: np.ndarray) -> None:
    """Write an uncertainty in steps that the eye can tell, which take little space."""
    image = nib.Nifti1Image(np.round(doubt * finished_runs.DOUBT_STEPS).astype(np.uint8), stored.affine)
    image.header.set_slope_inter(1 / finished_runs.DOUBT_STEPS, 0)
    with atomic_path(folder / "doubts" / stored.cohort / f"{stored.name}.nii.gz") as part:
        nib.save(image, part)
