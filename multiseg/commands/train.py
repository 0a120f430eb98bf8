"""``multiseg train``: a study in parts, as a person or a cluster's scheduler starts them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from multiseg_core.errors import UserError
from multiseg_core.training import is_trained

from ..base.files import remove_leftovers
from ..base.workers import progress_bar
from ..study import evaluation, finished_runs, listing, network_shapes, runs
from ..study.plan import NetworkPlan, cases_of
from ..study.study import Study
from . import studies


def run(options: argparse.Namespace) -> None:
    """Do what ``multiseg train`` is asked for. Raises `UserError`."""
    for option, other in (("json", "list"), ("later", "run")):
        if getattr(options, option) and not getattr(options, other):
            raise UserError(f"--{option}: only together with --{other}")
    if options.list:
        _list(studies.load(options), options.json)
    elif options.collect:
        _collect(studies.load(options))
    elif options.network:
        _train_network(studies.checked(options, unless_stamped=True), options.network)
    else:
        _make_runs(studies.checked(options, unless_stamped=True), options.run, options.later)


def _list(study: Study, as_json: bool) -> None:
    if as_json:
        print(json.dumps(listing.listing(study), indent=1))
        return
    for run in study.runs:
        print(f"{run.key}  {run.name}  {finished_runs.state(run)}  {studies.relative(run.folder)}")


def _collect(study: Study) -> None:
    remove_leftovers(study.folder)
    runs.write_metrics(study)
    finished = sum(finished_runs.is_finished(run) for run in study.runs)
    print(f"{finished} of {len(study.runs)} runs: {studies.relative(study.folder / 'metrics.csv')}")


def _train_network(study: Study, key: str) -> None:
    network = study.find_network(key)
    for earlier in network.before:
        if not is_trained(earlier.folder):
            raise UserError(f"network {network.key}: train {earlier.key} ({earlier.name}) before it")
    runs.prepare(study, [case for planned in network.cohorts for case in planned.cases])
    _train(study, network)
    print(f"trained {network.name}: {studies.relative(network.folder)}")


def _make_runs(study: Study, names: Sequence[str], later: bool) -> None:
    wanted = [study.find_run(name) for name in names]
    runs.prepare(study, cases_of(wanted))
    network_shapes.check_volumes(wanted, study.store, study.params)
    for network in (n for networks in runs.training_rounds(wanted) for n in networks):
        _train(study, network)
    for run in wanted:
        folder = evaluation.evaluate_run(run, study.store, study.params)
        print(f"finished {run.name}: {folder}")
    if not later:
        runs.write_metrics(study)


def _train(study: Study, network: NetworkPlan) -> None:
    """Train a network in this process, with a progress bar."""
    with progress_bar(f"training {network.name}", 1.0) as bar:

        def report(fraction: float, text: str) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(fraction - bar.n)

        runs.train_network(network, study.store, study.params, report)
