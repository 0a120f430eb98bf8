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
from .network_shapes import check_volumes
from .plan import NetworkPlan, PlannedCohort, Run, cases_of, networks_of
from .pseudo_labels import complete_labels, completed_folder

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
    """Train a network of a study unless it is trained, those that must come before it first; return its folder."""
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
    t, model, how, seed = network.training, network.model, network.pretraining, network.seed
    cohorts = [sampling_cohorts(network, planned, store) for planned in network.cohorts]
    train, validation = ([pair[part] for pair in cohorts] for part in (0, 1))
    flip, outside, learns_images = mirroring(t.flip, train), params.preprocessing.outside_value, how is not None
    where = {"uniform": model.sampling.name == "uniform", "anywhere_fraction": t.anywhere_fraction}
    samplers = (
        make_sampler(compute, train, t.patch_size, t.batch_size, seed, flip["mirrored"], t.noise_sd, outside, **where),
        # the same patches at every validation, around labels, without augmentation, and never the training's numbers
        make_sampler(compute, validation, t.validation_patch_size, 1, seed + 2**31, False, 0.0, outside, learns_images),
    )
    facts = {**network.facts(), "flip": flip, "provenance": provenance(compute.device)}
    torch.manual_seed(seed)
    n_outputs = network.space.n_classes if how is None else len(network.outputs)
    built = build_network(network.network, len(network.modalities), n_outputs)
    if how is not None:
        return PretrainingTrainer(network.folder, built, how, samplers, t, seed=seed, compute=compute, facts=facts)
    facts |= initial_weights(network, built)
    membership = torch.from_numpy(network.space.membership())
    loss = build_loss(model.loss.name, membership, model.loss.options, _voxels(train, membership))
    return Trainer(network.folder, built, loss, samplers, t, seed=seed, compute=compute, facts=facts)


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
    sampling = network.model.sampling
    share = sampling.cohorts.get(planned.cohort.name, 1.0)
    aims = {
        at: max(sampling.labels.get(label, 1.0) for label in members)
        for at, members in enumerate(planned.sets)
        if is_relevant(members)
    }

    def sampled(cases: Sequence[Case]) -> SamplingCohort:
        labelled = [_labelled(network, store.opened(case, planned.cohort)) for case in cases]
        return SamplingCohort(labelled, lookup, network.modalities, mirrored, controls, planned.task, share, aims)

    return sampled(planned.train), sampled(planned.validation)


def _labelled(network: NetworkPlan, case: StoredCase) -> StoredCase:
    """Return a case with the labels that a network learns from."""
    if network.teachers:
        return case.relabelled(completed_folder(network.folder, case))
    return case.completed() if network.model.targets == "complete" else case


# -- all of it -------------------------------------------------------------------------------------------------


def training_rounds(runs: Iterable[Run]) -> list[list[NetworkPlan]]:
    """Return the networks that some runs still need, in rounds: those that others learn from, or start from, first."""
    untrained = {n.key: n for n in networks_of(runs) if not is_trained(n.folder)}
    graph = {key: [t.key for t in n.before if t.key in untrained] for key, n in untrained.items()}
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    rounds = []
    while sorter.is_active():
        ready = set(sorter.get_ready())
        rounds.append([network for key, network in untrained.items() if key in ready])
        sorter.done(*ready)
    return rounds


def finish_runs(study: Study, runs: Sequence[Run] | None = None) -> None:
    """Train and evaluate what is missing of some runs (default: all), in parallel, and write the study's metrics.

    A network that fails is recorded, see `failures.failure`, and what needs it is left out of the study; everything
    else is finished. Raises `UserError` if none of them can be trained.
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
