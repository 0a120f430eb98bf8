"""Making runs: build the store, train the networks, evaluate, collect. Nothing else in the package makes products.

Every product is made once, and made whole: a second call finds it, a killed one goes on.
"""

from __future__ import annotations

import graphlib
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import nibabel as nib
import numpy as np
import pandas as pd
import torch

from ..cohorts.base import Case, Cohort
from ..inference import Segmenter
from ..initial import Source, read_weights, start_from
from ..labels import BACKGROUND, is_relevant, swapped
from ..losses import build_loss
from ..metrics import METRICS, label_metrics
from ..models import SINGLE_TASK
from ..networks import build_network
from ..params import InferenceParams, Params, swaps
from ..preprocessing.grids import voxel_ml, voxel_sizes
from ..preprocessing.store import Store, StoredCase
from ..recipe import MIRRORED, mirror_likeness
from ..samplers import SamplingCohort, make_sampler
from ..statistics.doubts import allowed_classes, count_doubts
from ..training import Trainer, is_trained
from ..utils.compute import Compute, default_workers
from ..utils.files import atomic_path, remove_leftovers, write_json, write_table
from ..utils.provenance import provenance
from ..utils.workers import Job, Report, run_jobs
from . import finished_runs
from .finished_runs import METRICS_COLUMNS, is_finished
from .network_shapes import try_volumes
from .plan import NetworkPlan, PlannedCohort, Run, cases_of, networks_of
from .pseudo_labels import complete_case, completed_folder

if TYPE_CHECKING:
    from .study import Study

Metrics = dict[str, dict[str, float]]
"""Label -> metric -> value."""


def _no_report(fraction: float, text: str) -> None:
    """Report to nobody."""


# -- store -----------------------------------------------------------------------------------------------------


def prepare(study: Study, cases: Sequence[Case] | None = None, workers: int | None = None) -> int:
    """Build the store of a study, or of some of its cases, in parallel. Return how many were missing."""
    cases = study.needed_cases() if cases is None else cases
    # a generated case whose files are gone is still in the store; nothing to do
    missing = [case for case in cases if not study.store.path(case, study.cohorts[case.cohort]).exists()]
    jobs = [
        Job(f"{case.cohort}/{case.name}", build_case, (study.store, case, study.cohorts[case.cohort]))
        for case in missing
    ]
    if missing:
        remove_leftovers(study.store.folder)
    run_jobs(jobs, "preparing cases", workers or default_workers(study.params.workers, study.params.threads))
    return len(missing)


def build_case(store: Store, case: Case, cohort: Cohort, report: Report = _no_report) -> None:
    """Build one case of a store."""
    report(0, "…")
    torch.set_num_threads(1)
    store.build(case, cohort)


def _open(store: Store, case: Case, cohort: Cohort) -> StoredCase:
    """Open a case, building it first if need be."""
    return StoredCase.open(store.build(case, cohort))


# -- training --------------------------------------------------------------------------------------------------


def train_network(network: NetworkPlan, store: Store, params: Params, report: Report = _no_report) -> Path:
    """Train a network unless it is trained, those that must come before it first; return its folder.

    Parameters
    ----------
    network
        What to train.
    store, params
        Of its study.
    report
        Called with the progress.
    """
    for earlier in () if is_trained(network.folder) else network.before:
        train_network(earlier, store, params, report)
    report(0, "starting")
    network.folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(network.folder / ".lock"):
        if is_trained(network.folder):
            return network.folder
        torch.set_num_threads(params.threads)
        compute = Compute.resolve(params.device, params.precision)
        complete_labels(network, store, params, compute, report)
        trainer = make_trainer(network, store, params, compute)
        trainer.run(lambda step, steps, loss: report(step / steps, f"step {step}/{steps}"))
    return network.folder


def make_trainer(network: NetworkPlan, store: Store, params: Params, compute: Compute) -> Trainer:
    """Put together what trains a network: its samplers, itself with its initial weights, and its loss."""
    t, outside = network.training, params.preprocessing.outside_value
    uniform = network.model.sampling.name == "uniform"
    cohorts = [sampling_cohorts(network, planned, store) for planned in network.cohorts]
    train, validation = ([pair[part] for pair in cohorts] for part in (0, 1))
    flip = mirroring(t.flip, train)
    samplers = (
        make_sampler(
            compute,
            train,
            t.patch_size,
            t.batch_size,
            network.seed,
            flip["mirrored"],
            t.noise_sd,
            outside,
            uniform=uniform,
            anywhere_fraction=t.anywhere_fraction,
        ),
        # the same patches at every validation, around labels, without augmentation, and never the training's numbers
        make_sampler(compute, validation, t.validation_patch_size, 1, network.seed + 2**31, False, 0.0, outside),
    )
    torch.manual_seed(network.seed)
    built = build_network(network.network, len(network.modalities), network.space.n_classes)
    started = initial_weights(network, built)
    loss = network.model.loss
    membership = torch.from_numpy(network.space.membership())
    return Trainer(
        network.folder, built, build_loss(loss.name, membership, loss.options, _voxels(train, membership)), samplers, t,
        seed=network.seed, compute=compute, facts={**network.facts(), **started, "flip": flip},
    )  # fmt: skip


def mirroring(asked: object, cohorts: Sequence[SamplingCohort]) -> dict[str, Any]:
    """Return whether patches are mirrored, and of ``auto`` how like their mirror images the training images are."""
    if asked != "auto":
        return {"mirrored": bool(asked)}
    likeness = [mirror_likeness(case.images[0], case.mirror_axis) for cohort in cohorts for case in cohort.cases]
    mean = float(np.mean(likeness))
    return {"mirrored": mean >= MIRRORED, "likeness": round(mean, 3)}


def initial_weights(network: NetworkPlan, built: torch.nn.Module) -> dict[str, Any]:
    """Give a fresh network the weights that it starts from, if any; return what is to be told of it."""
    if network.start is not None:
        source = Source.of(network.start.folder, network.start.outputs, network.start.modalities)
        name = network.start.name
    elif network.model.initial is not None:
        source, name = read_weights(Path(network.model.initial)), Path(network.model.initial).name
    else:
        return {}
    sigmoid = network.model.head == "sigmoid"
    return {"initial": {"file": name, **start_from(built, source, network.labels, network.modalities, sigmoid)}}


def _voxels(cohorts: Sequence[SamplingCohort], membership: torch.Tensor) -> list[int]:
    """Count the voxels of each class in training cases; backgrounds count as background, whatever hides in them."""
    counts = [0] * membership.shape[1]
    for cohort in cohorts:
        for row, voxels in ((int(cohort.lookup[at]), n) for case in cohort.cases for at, n in case.voxels_per_set):
            if row < len(counts):
                counts[row] += voxels
            elif membership[row, 0] and not membership[row].all():
                counts[0] += voxels
    return counts


def sampling_cohorts(
    network: NetworkPlan, planned: PlannedCohort, store: Store
) -> tuple[SamplingCohort, SamplingCohort]:
    """Return what a network samples of a cohort, for training and for validation."""
    space, naive = network.space, network.model.targets == "naive"
    lookup = space.lookup(planned.sets, naive)
    mirrored = space.lookup(swapped(planned.sets, swaps(network.training)), naive)
    controls = not space.membership()[lookup[0]].all()
    sampling, name = network.model.sampling, planned.cohort.name
    aims = {
        at: max(sampling.labels.get(label, 1.0) for label in members)
        for at, members in enumerate(planned.sets)
        if is_relevant(members)
    }
    found = []
    for cases in (planned.train, planned.validation):
        stored = [_labelled(network, _open(store, case, planned.cohort)) for case in cases]
        found.append(
            SamplingCohort(
                stored, lookup, network.modalities, mirrored, controls, planned.task,
                sampling.cohorts.get(name, 1.0), aims,
            )
        )  # fmt: skip
    return found[0], found[1]


def _labelled(network: NetworkPlan, case: StoredCase) -> StoredCase:
    """Return a case with the labels that a network learns from."""
    if network.teachers:
        return case.relabelled(completed_folder(network.folder, case))
    return case.completed() if network.model.targets == "complete" else case


def complete_labels(
    network: NetworkPlan, store: Store, params: Params, compute: Compute, report: Report = _no_report
) -> None:
    """Let the trained teachers of a network complete the labels of its cases; those that are complete stay."""
    if not network.teachers:
        return
    teachers = [finished_runs.load_member(teacher) for teacher in network.teachers]
    cases = [(planned.cohort, case) for planned in network.cohorts for case in planned.cases]
    for i, (cohort, case) in enumerate(cases):
        report(0, f"completing labels {i}/{len(cases)}")
        stored = _open(store, case, cohort)
        folder = completed_folder(network.folder, stored)
        complete_case(folder, stored, network.labels, teachers, params, compute)


# -- evaluation ------------------------------------------------------------------------------------------------


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
        See `statistics.doubts.count_doubts`; None where cases are scored on the grid of the store.
    """

    prediction: np.ndarray
    metrics: Metrics
    alone: list[Metrics]
    doubts: pd.DataFrame | None


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
        on_store, maps, doubt = seeing.class_maps_on(
            images, case.affine, grid, modalities, compute, inference.memory_gib, case.mask
        )
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
    return Evaluated(prediction, metrics, metrics_alone, doubts)


def evaluate_run(run: Run, store: Store, params: Params, report: Report = _no_report) -> Path:
    """Evaluate a trained run on its test cohort and on the validation cases of its training cohorts.

    Writes into its folder: ``metrics.csv`` (test cases), ``validation.csv`` (validation cases), ``single_task.csv``
    (each of several networks alone, on the validation cases of its own cohorts), ``doubts.csv`` (voxels of test cases
    by uncertainty, see `statistics.doubts`), ``subsets.csv`` (test cases with every subset of their modalities, of a
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
            stored = _open(store, case, run.cohorts[case.cohort])
            alone = [_is_own(network, case, run) for network in run.networks]
            alone += [False] * (len(segmenter.members) - len(alone))
            found_here = evaluate_case(segmenter, stored, compute, params.inference, alone)
            _save_prediction(run.folder, stored, found_here.prediction)
            if found_here.doubts is not None and case in run.test_cases:
                doubts.append(found_here.doubts.assign(case=case.name))
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
        stored = _open(store, case, run.cohorts[case.cohort])
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


# -- all of it -------------------------------------------------------------------------------------------------


def training_rounds(runs: Iterable[Run]) -> list[list[NetworkPlan]]:
    """Return the networks that some runs still need, in rounds: those that others learn from, or start from, first."""
    runs = list(runs)
    untrained = {n.key: n for n in networks_of(runs) if not is_trained(n.folder)}
    graph = {n.key: [t.key for t in n.before if t.key in untrained] for n in networks_of(runs) if n.key in untrained}
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    rounds = []
    while sorter.is_active():
        ready = set(sorter.get_ready())
        rounds.append([network for key, network in untrained.items() if key in ready])
        sorter.done(*ready)
    return rounds


def check_volumes(runs: Iterable[Run], store: Store, params: Params) -> None:
    """Find networks that could not predict the volumes that they are to be evaluated on. Raises `UserError`."""
    compute = Compute.resolve(params.device, params.precision)
    tried: list[object] = []
    for run in runs:
        cases = [*run.test_cases, *run.validation_cases]
        shapes = sorted({_open(store, case, run.cohorts[case.cohort]).shape for case in cases}, key=np.prod)
        for network in networks_of([run]):
            what = (network.network, len(network.modalities), [shapes[0], shapes[-1]])
            if what not in tried:
                try_volumes(*what, compute, params.inference.memory_gib)
                tried.append(what)


def finish_runs(study: Study, runs: Sequence[Run] | None = None) -> None:
    """Train and evaluate what is missing of some runs (default: all), in parallel, and write the study's metrics.

    Raises
    ------
    UserError
        As raised by a worker; everything finished before stays.
    """
    runs = study.runs if runs is None else list(runs)
    missing = [run for run in runs if not is_finished(run)]
    if missing:
        study.require_writable()
        study.check_networks()
        remove_leftovers(study.folder)
        params, store = study.params, study.store
        on = Compute.resolve(params.device, params.precision).device.type
        workers = default_workers(params.workers, params.threads, on)
        prepare(study, cases_of(missing))
        check_volumes(missing, store, params)
        for networks in training_rounds(missing):
            jobs = [Job(n.name, train_network, (n, store, params)) for n in networks]
            run_jobs(jobs, "training networks", workers)
        jobs = [Job(run.name, evaluate_run, (run, store, params)) for run in missing]
        run_jobs(jobs, "evaluating runs", workers)
    write_metrics(study)


def write_metrics(study: Study) -> None:
    """Gather the metrics of all finished runs of a study into its ``metrics.csv``.

    Jobs that end together take turns, so that none writes what it read before another had finished.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(study.folder / ".metrics.lock"):
        path, table = study.folder / "metrics.csv", finished_runs.metrics(study)
        text = table.to_csv(index=False)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_table(path, table)
