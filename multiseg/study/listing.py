"""What a scheduler must know to make a study network by network: what there is, in which order, and what it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from multiseg_core.training import is_trained

from ..base.fingerprints import fingerprint
from .check import stamp
from .costs import PROGRAM_MB, Needs
from .finished_runs import is_finished
from .plan import Run
from .study import Study


def listing(study: Study) -> dict[str, Any]:
    """Return the networks and runs of a study, with their order, files and expected needs, as plain values.

    Memory (``memory_mb``) is estimated from the tensors that a training step keeps, ``minutes`` from networks of the
    same settings that are trained, or else from the number of operations.

    ``networks``: ``key, name, before`` (keys of those that must be trained earlier), ``cohorts, result`` (the file that
    is written last), ``finished, memory_mb, minutes``. ``runs``: ``key, name, networks, result, finished``.
    ``evaluations`` (runs to evaluate in one job): ``name, key, runs, finished, networks, cohorts, memory_mb``.
    ``cohorts``: ``name, key, cases``. And of the study: ``name, key, params, folder, checked`` (the stamp of a check),
    ``threads, device``.
    """
    networks, cases = study.networks(), study.prepared_cases()
    needs = Needs(study.params, networks)
    together: dict[tuple[str, int], list[Run]] = {}  # a job for each run would take longer to start than to work
    for run in study.runs:
        together.setdefault((run.scenario, run.replicate), []).append(run)
    return {
        "name": study.name,
        "key": study.key,
        "params": str(study.params_file),
        "folder": str(study.folder),
        "checked": str(stamp(study)),
        "threads": study.params.threads,
        "device": study.params.device,
        "cohorts": [
            {"name": name, "key": study.cohort_key(name), "cases": n}
            for name in study.cohorts
            if (n := sum(case.cohort == name for case in cases))
        ],
        "networks": [
            {
                "key": network.key,
                "name": network.name,
                "before": [earlier.key for earlier in network.before],
                "cohorts": [planned.cohort.name for planned in network.cohorts],
                "result": str(network.folder / "network.json"),
                "finished": is_trained(network.folder),
                "memory_mb": needs.memory_mb(network),
                "minutes": round(needs.minutes(network), 2),
            }
            for network in networks
        ],
        "runs": [
            {
                "key": run.key,
                "name": run.name,
                "networks": [network.key for network in run.networks],
                "result": str(run.folder / "run.json"),
                "finished": is_finished(run),
            }
            for run in study.runs
        ],
        "evaluations": [_evaluation(study, runs) for runs in together.values()],
    }


def _evaluation(study: Study, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "name": f"{runs[0].scenario}-{runs[0].replicate}",
        "key": fingerprint([run.key for run in runs]),
        "runs": [run.key for run in runs],
        "finished": all(is_finished(run) for run in runs),
        "networks": list(dict.fromkeys(network.key for run in runs for network in run.networks)),
        "cohorts": sorted({case.cohort for run in runs for case in run.cases}),
        "memory_mb": PROGRAM_MB + math.ceil(1024 * study.params.inference.memory_gib),
    }
