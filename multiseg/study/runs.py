"""Making runs: build the store, train the networks, evaluate, collect. Nothing else in the package makes products.

Every product is made once, and made whole: a second call finds it, a killed one goes on.
"""

from __future__ import annotations

import graphlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
import torch

from multiseg.study.pretraining import PretrainingTrainer
from multiseg_core.compute import Compute
from multiseg_core.errors import UserError, one_line
from multiseg_core.files import write_json
from multiseg_core.labels import is_relevant, swapped
from multiseg_core.losses import build_loss
from multiseg_core.networks import build_network
from multiseg_core.resident_sampler import make_sampler
from multiseg_core.samplers import SamplingCohort
from multiseg_core.settings import swaps
from multiseg_core.tiling import Filling
from multiseg_core.training import Trainer, is_trained

from ..base.cores import default_workers, visible_gpus
from ..base.files import remove_leftovers, write_table
from ..base.provenance import provenance
from ..base.workers import Job, Report, no_report, run_jobs
from ..data.cohorts import Case, Cohort
from ..data.store import Store, StoredCase
from ..settings.params import Params
from ..settings.recipe import MIRRORED, mirror_likeness
from . import finished_runs
from .costs import Needs
from .evaluation import evaluate_run
from .events import Events
from .failures import FAILED, failed_networks, failure
from .finished_runs import is_finished
from .initial import read_weights, start_from
from .network_shapes import try_volumes
from .plan import NetworkPlan, PlannedCohort, Run, cases_of, networks_of
from .pseudo_labels import complete_case, completed_folder

if TYPE_CHECKING:
    from .study import Study

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


def build_case(store: Store, case: Case, cohort: Cohort, report: Report = no_report) -> None:
    """Build one case of a store."""
    report(0, "…")
    torch.set_num_threads(1)
    store.build(case, cohort)


# -- training --------------------------------------------------------------------------------------------------


def train_network(network: NetworkPlan, store: Store, params: Params, report: Report = no_report) -> Path:
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
        events, begun = Events(network.folder), [0.0, 0.0]

        def tell(step: int, steps: int, loss: float) -> None:
            if not begun[1]:  # where it goes on, after an interruption
                begun[:] = step, time.perf_counter()
            rate = (step - begun[0]) / max(time.perf_counter() - begun[1], 1e-9)
            report(step / steps, f"step {step}/{steps}" + (f", {rate:.1f}/s" if step > begun[0] else ""))
            events.add(step, loss, trainer.history)

        trainer.run(tell)
        events.close()
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
        make_sampler(
            compute, validation, t.validation_patch_size, 1, network.seed + 2**31, False, 0.0, outside,
            uniform=network.pretraining is not None,
        ),
    )  # fmt: skip
    facts = {**network.facts(), "flip": flip, "provenance": provenance(compute.device)}
    torch.manual_seed(network.seed)
    if network.pretraining is not None:
        built = build_network(network.network, len(network.modalities), len(network.outputs))
        return PretrainingTrainer(
            network.folder, built, network.pretraining, samplers, t,
            seed=network.seed, compute=compute, facts=facts,
        )  # fmt: skip
    built = build_network(network.network, len(network.modalities), network.space.n_classes)
    started = initial_weights(network, built)
    loss = network.model.loss
    membership = torch.from_numpy(network.space.membership())
    return Trainer(
        network.folder, built, build_loss(loss.name, membership, loss.options, _voxels(train, membership)), samplers, t,
        seed=network.seed, compute=compute, facts={**facts, **started},
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
        source = replace(
            read_weights(network.start.folder), outputs=network.start.outputs, inputs=network.start.modalities
        )
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
        stored = [_labelled(network, store.opened(case, planned.cohort)) for case in cases]
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
    network: NetworkPlan, store: Store, params: Params, compute: Compute, report: Report = no_report
) -> None:
    """Let the trained teachers of a network complete the labels of its cases; those that are complete stay."""
    if not network.teachers:
        return
    teachers = [finished_runs.load_member(teacher) for teacher in network.teachers]
    cases = [(planned.cohort, case) for planned in network.cohorts for case in planned.cases]
    for i, (cohort, case) in enumerate(cases):
        report(0, f"completing labels {i}/{len(cases)}")
        stored = store.opened(case, cohort)
        folder = completed_folder(network.folder, stored)
        complete_case(folder, stored, network.labels, teachers, params, compute)


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
        shapes = sorted({store.opened(case, run.cohorts[case.cohort]).shape for case in cases}, key=np.prod)
        for network in networks_of([run]):
            filling = Filling(at_least=tuple(network.training.patch_size), has_outside=params.preprocessing.has_outside)
            what = (network.network, len(network.modalities), [shapes[0], shapes[-1]], filling)
            if what not in tried:
                try_volumes(*what, compute, params.inference.memory_gib)
                tried.append(what)


def finish_runs(study: Study, runs: Sequence[Run] | None = None) -> None:
    """Train and evaluate what is missing of some runs (default: all), in parallel, and write the study's metrics.

    Raises
    ------
    UserError
        If none of them can be trained. A network that fails is recorded, see `failures.failure`, and what needs it
        is left out of the study; everything else is finished.
    """
    runs = study.runs if runs is None else list(runs)
    missing = [run for run in runs if not is_finished(run)]
    if missing:
        study.require_writable()
        study.check_networks()
        remove_leftovers(study.folder)
        params, store = study.params, study.store
        prepare(study, cases_of(missing))
        check_volumes(missing, store, params)
        for networks in training_rounds(missing):
            _train_all(networks, store, params)
        missing = [run for run in missing if not failed_networks([run])]
        study.leave_out_failed()
        if not missing and not any(map(is_finished, study.runs)):
            raise UserError("\n".join(failed_networks(runs)))
        jobs = [Job(run.name, evaluate_run, (run, store, params)) for run in missing]
        run_jobs(jobs, "evaluating runs", *_places(params))
    write_metrics(study)


def _train_all(networks: Sequence[NetworkPlan], store: Store, params: Params) -> None:
    """Train some networks at a time; record those that fail, and those that would learn from one that failed."""
    ready = []
    for network in networks:
        failed = [earlier.name for earlier in network.before if failure(earlier)]
        if failed:
            write_json(network.folder / FAILED, {"error": f"needs {failed[0]}, which failed"})
        else:
            ready.append(network)
    jobs = [Job(n.name, train_network, (n, store, params)) for n in ready]
    results = run_jobs(jobs, "training networks", *_places(params, networks), keep_going=True)
    for network, result in zip(ready, results, strict=True):
        if isinstance(result, Exception):
            write_json(network.folder / FAILED, {"error": one_line(result)})


def _places(params: Params, networks: Sequence[NetworkPlan] = ()) -> tuple[int, list[str]]:
    """Return how many processes train networks, or evaluate runs, at a time, and the GPUs that they take in turn."""
    on = Compute.resolve(params.device, params.precision).device.type
    gpus, needs = visible_gpus(params.device), Needs(params)
    need = max(map(needs.tensors_gib, networks), default=params.inference.memory_gib) if gpus else 0.0
    return default_workers(params.workers, params.threads, on, len(gpus), need), gpus


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
